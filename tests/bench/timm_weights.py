"""The table of timm's published weights, scenerec/models/weights/timm.csv, from timm's own descriptions.

Run by `make timm-weights RESULTS=results-imagenet.csv`: that file, of timm's repository (folder results), has the
accuracies; all else is in the installed timm. Without it the accuracies are those that the table has.
"""

import csv
import math
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import timm

from scenerec.models import zoo
from scenerec.models.preprocessing import IMAGENET
from scenerec.models.weights import published
from scenerec.models.weights.licences import LICENCES
from scenerec.models.weights.published import HUB_FILE, PublishedWeights
from scenerec.models.zoo import TIMM

Accuracies = dict[tuple[str, int], tuple[float | None, float | None]]
"""Top-1 and top-5 in percent by the weights' name and the image size."""

TABLE = Path(published.__file__).with_name("timm.csv")

_CURATED = (
    *("resnet50", "convnext_tiny", "convnextv2_atto", "convnextv2_nano", "convnextv2_tiny", "convnextv2_base"),
    *("mobilenetv4_conv_small", "mobilenetv4_conv_medium", "mobilenetv4_conv_large", "mobilenetv4_hybrid_medium"),
    *("efficientnetv2_rw_t", "efficientnetv2_rw_s", "tf_efficientnetv2_b0", "tf_efficientnetv2_s"),
    *("efficientvit_b0", "efficientvit_b1", "efficientvit_m0", "fastvit_t8", "fastvit_t12", "fastvit_sa12"),
    *("regnety_008", "regnety_016", "regnety_032", "caformer_s18", "tiny_vit_5m_224", "tiny_vit_11m_224"),
    *("vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224", "vit_base_patch16_clip_224"),
    *("vit_medium_patch16_gap_256", "vit_little_patch16_reg4_gap_256", "vit_base_patch16_reg4_gap_256"),
    *("vit_small_patch14_dinov2", "vit_base_patch14_dinov2"),
    *("vit_small_patch14_reg4_dinov2", "vit_base_patch14_reg4_dinov2"),
    *("vit_small_patch16_dinov3", "vit_base_patch16_dinov3"),
    *("eva02_tiny_patch14_224", "eva02_small_patch14_224", "eva02_tiny_patch14_336", "eva02_small_patch14_336"),
    *("vit_base_patch16_siglip_224", "vit_base_patch16_siglip_256", "vit_base_patch16_siglip_gap_224"),
    *("swin_tiny_patch4_window7_224", "swin_small_patch4_window7_224", "swinv2_tiny_window8_256"),
    *("maxvit_nano_rw_256", "maxvit_tiny_rw_224", "maxvit_tiny_tf_224"),
    *("hiera_tiny_224", "hiera_small_224", "hiera_base_224", "hiera_small_abswin_256"),
)
_OF_THE_ZOO = tuple(name.removeprefix(TIMM) for name in zoo.ARCHITECTURES if name.startswith(TIMM))
ARCHITECTURES = tuple(dict.fromkeys((*_CURATED, *_OF_THE_ZOO)))
"""The networks whose weights are listed, by timm's names: all of the zoo's among them."""

_LICENCES = {name.lower(): name for name in LICENCES} | {"dinov3-license": "DINOv3"}


def rows(accuracies: Accuracies) -> Iterator[PublishedWeights]:
    """The weights of each of the architectures that lie on the hub under timm's own name."""
    for arch in ARCHITECTURES:
        tags = timm.list_pretrained(f"{arch}.*")
        first = timm.get_pretrained_cfg(arch).tag
        for name in sorted(tags):
            described = timm.get_pretrained_cfg(name)
            if described.hf_hub_id == f"timm/{name}" and described.hf_hub_filename is None:
                yield row(arch, described, described.tag == first, accuracies)


def row(arch: str, described: Any, is_first: bool, accuracies: Accuracies) -> PublishedWeights:
    """What timm says of one file of weights."""
    size = described.input_size[-1]
    top1, top5 = accuracies.get((f"{arch}.{described.tag}", size), (None, None))
    short_side = math.floor(size / described.crop_pct)  # as timm has it, which does not round
    return PublishedWeights(
        arch=f"{TIMM}{arch}",
        name=described.tag,
        default=is_first,
        url=f"https://huggingface.co/{described.hf_hub_id}/resolve/main/{HUB_FILE}",
        classes=described.num_classes,
        image_size=size,
        top1=top1,
        top5=top5,
        licence=_LICENCES.get(described.license or "", described.license or ""),
        mean=tuple(described.mean),
        std=tuple(described.std),
        interpolation=described.interpolation,
        eval_crop_ratio=round(size / short_side, 5),
    )


def read_accuracies(file: Path) -> Accuracies:
    """Top-1 and top-5 in percent on ImageNet's validation set, by the weights' name and the image size."""
    with file.open(newline="") as lines:
        return {
            (line["model"], int(line["img_size"])): (float(line["top1"]), float(line["top5"]))
            for line in csv.DictReader(lines)
        }


def cell(value: object) -> str:
    """As `read_table` reads it."""
    if isinstance(value, tuple):
        return " ".join(f"{number:.8g}" for number in value)
    if value is None or value is False:
        return ""
    return "yes" if value is True else f"{value:g}" if isinstance(value, float) else str(value)


def known_accuracies() -> Accuracies:
    """Those of the table as it is, as `read_accuracies` gives them."""
    return {
        (f"{each.arch.removeprefix(TIMM)}.{each.name}", each.image_size): (each.top1, each.top5)
        for each in published.all_published()
        if each.arch.startswith(TIMM)
    }


def main(results: Path | None = None) -> None:
    """Writes the table."""
    accuracies = read_accuracies(results) if results else known_accuracies()
    columns = [field.name for field in fields(PublishedWeights)]
    usual = {"mean": IMAGENET.mean, "std": IMAGENET.std, "interpolation": "bilinear", "eval_crop_ratio": 0.875}
    found = list(rows(accuracies))
    with TABLE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for weights in found:
            values = {column: getattr(weights, column) for column in columns}
            writer.writerow(["" if value == usual.get(column) else cell(value) for column, value in values.items()])


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
