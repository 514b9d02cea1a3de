"""What a student gains by a teacher: the same student, seeds, batches and steps with one and without.

A ResNet-18 teaches a MobileNetV3-small, for which it has learned longer. With `--label-share` the student alone learns
from so many of each class's images, as many steps, and with the teacher from all of them without a label. A row of
distill.csv for each seed holds the top-1 of the teacher's best epoch, in which it teaches, and of the students' last
one, on the same validation images. What is done lies in `--folder`, and is not done again: stopped at any time, it goes
on from the newest checkpoint.
"""

import argparse
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scenerec.config.distill import DistillConfig
from scenerec.config.train import TrainConfig
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.packing.pack_plan import PackOptions
from scenerec.data.synthetic import draw_scenes
from scenerec.training import tf_learner, torch_learner
from scenerec.training.run_folder import RunFolder
from tests.bench.record import put_row
from tests.local_run import train_here

TEACHER = "resnet18"
STUDENT = "mobilenet_v3_small"


def main() -> None:
    """Trains the teacher, then both students of each seed; prints and records a row a seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", type=Path, nargs="?", help="ImageFolder with train/ and val/; drawn without it")
    parser.add_argument("--teacher", help="a run of the same classes, instead of one that is trained here")
    parser.add_argument("--framework", choices=("torch", "tensorflow"), default="torch")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=20, help="of the students")
    parser.add_argument("--teacher-epochs", type=int, default=30)
    parser.add_argument("--temperature", type=float, default=DistillConfig.model_fields["temperature"].default)
    parser.add_argument("--weight", type=float, default=DistillConfig.model_fields["weight"].default)
    parser.add_argument(
        "--label-share", type=float, default=1.0, help="of the training images, that the student is told"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, default=Path("build/distill"), help="where the runs are kept")
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    (torch_learner if options.framework == "torch" else tf_learner).use_threads(options.cores)
    bench = Bench(options, options.folder.absolute())
    _pack(options.photographs, bench.folder)
    if options.label_share < 1:
        _pack_some(bench.folder, options.photographs or bench.folder / "drawn", options.label_share)
    teacher = bench.config("teacher", TEACHER, 100, options.teacher_epochs)
    teacher_top1 = float("nan") if options.teacher else _top1(teacher, "best")
    print(f"the teacher: top-1 {teacher_top1:.1%}", flush=True)
    gains = [bench.compare(seed, options.teacher or teacher.run_url, teacher_top1) for seed in options.seeds]
    print(f"the teacher is worth {np.mean(gains):+.1%} ({min(gains):+.1%} to {max(gains):+.1%})")


@dataclass(frozen=True)
class Bench:
    """What the teacher and all students have in common."""

    options: argparse.Namespace
    folder: Path

    def compare(self, seed: int, teacher: str, teacher_top1: float) -> float:
        """Trains a seed's student without the teacher and with it; records and returns what it has gained."""
        o = self.options
        weight, some, repeats = o.weight, "packed", 1
        if o.label_share < 1:
            weight, some, repeats = 1, f"packed-{o.label_share:g}", round(1 / o.label_share)
        settings = f"temperature {o.temperature:g}, weight {weight:g}"
        distill = {"teacher": teacher, "temperature": o.temperature, "weight": weight}
        name = f"{seed}-plain" + (f"-{some}".replace(".", "-") if repeats > 1 else "")
        plain = _top1(self.config(name, STUDENT, seed, o.epochs * repeats, some, warmup_epochs=repeats))
        name = f"{seed}-{settings}".replace(", ", "-").replace(" ", "-").replace(".", "-")
        distilled = _top1(self.config(name, STUDENT, seed, o.epochs, distill=distill))
        gain = distilled - plain
        figures: dict[str, object] = {
            "case": f"{STUDENT}, {o.framework}, {o.image_size} px, {o.epochs} epochs, {settings}, "
            f"{o.label_share:.0%} of the labels, seed {seed}",
            "label_share": o.label_share,
            "teacher_epochs": o.teacher_epochs,
            "teacher_top1": round(teacher_top1, 4),
            "plain_top1": round(plain, 4),
            "distilled_top1": round(distilled, 4),
            "gain": round(gain, 4),
        }
        put_row("distill", "case", figures)
        print(f"seed {seed}: top-1 {plain:.1%} without, {distilled:.1%} with the teacher: {gain:+.1%}", flush=True)
        return gain

    def config(
        self, name: str, arch: str, seed: int, epochs: int, packed: str = "packed", **optimize: Any
    ) -> TrainConfig:
        """The training job of one network."""
        o = self.options
        document = {
            "kind": "train",
            "name": f"{o.framework}-{o.image_size}px-{epochs}-{name}",
            "framework": o.framework,
            "data": {
                "train": f"{self.folder}/{packed}/train",
                "val": f"{self.folder}/packed/val",
                "image_size": o.image_size,
                "augment": {"crop_scale": [0.35, 1.0]},
            },
            "model": {"arch": arch},
            "optimize": {
                "epochs": epochs,
                "global_batch_size": 32,
                "optimizer": "adamw",
                "lr": 0.002,
                "weight_decay": 0.05,
                "warmup_epochs": 1,
                "seed": seed,
                **optimize,
            },
            "output": f"{self.folder}/runs",
        }
        return TrainConfig.model_validate(document)


def _top1(config: TrainConfig, epoch: str = "last") -> float:
    """Of the last or the best epoch of a run, which is trained to its end unless it is there."""
    result = RunFolder(config.run_url).read_result() or train_here(config)
    return float(result[epoch]["val_top1"])


def _pack(photographs: Path | None, folder: Path) -> None:
    if (folder / "packed" / "val" / "manifest.json").exists():
        return
    if photographs is None:
        photographs = folder / "drawn"
        draw_scenes(photographs, classes=8, train_per_class=100, val_per_class=40, size=96, seed=0)
    pack(PackRequest(source=photographs, destination=f"{folder}/packed", options=PackOptions()))


def _pack_some(folder: Path, photographs: Path, share: float) -> None:
    """Packs the first images of each class, such as a tenth of them."""
    packed, some = folder / f"packed-{share:g}", folder / f"some-{share:g}"
    if (packed / "val" / "manifest.json").exists():
        return
    shutil.copytree(photographs / "val", some / "val", dirs_exist_ok=True)
    for folder_of_class in sorted((photographs / "train").iterdir()):
        images = sorted(folder_of_class.iterdir())
        there = some / "train" / folder_of_class.name
        there.mkdir(parents=True, exist_ok=True)
        for image in images[: max(round(share * len(images)), 1)]:
            shutil.copy(image, there)
    pack(PackRequest(source=some, destination=str(packed), options=PackOptions()))


if __name__ == "__main__":
    main()
