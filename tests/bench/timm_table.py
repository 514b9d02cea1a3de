"""Writes scenerec/models/timm.csv anew, from timm itself: a row for each architecture in `NAMES` whose twin was tried.

After a new version of timm, or a new name in the list: python -m tests.bench.timm_table, and look at what has changed.
"""

from pathlib import Path

import timm
import torch
from timm.layers import PatchEmbed
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from scenerec.models import zoo
from tests.bench.record import write_table

NAMES = (
    *("convnextv2_atto", "convnextv2_nano", "convnextv2_tiny", "convnextv2_base"),
    *("efficientnetv2_rw_t", "tf_efficientnetv2_b0", "efficientvit_b0", "efficientvit_b1"),
    *("eva02_tiny_patch14_224", "eva02_small_patch14_224", "fastvit_t8", "hiera_tiny_224", "maxvit_rmlp_pico_rw_256"),
    *("mobilenetv4_conv_small", "mobilenetv4_conv_medium", "mobilenetv4_hybrid_medium"),
    *("regnety_002", "regnety_016", "regnety_040", "resnet50", "swin_tiny_patch4_window7_224", "tiny_vit_5m_224"),
    *("vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224", "vit_medium_patch16_gap_256"),
    *("vit_small_patch14_dinov2", "vit_base_patch14_dinov2", "vit_small_patch14_reg4_dinov2"),
    *("vit_small_patch16_dinov3", "vit_base_patch16_dinov3", "vit_base_patch16_siglip_224"),
)
"""Of the families that a scene is recognised with; timm's names."""
_LEAST_PX = (32, 64, 96, 128, 160)
"""What is tried as the smallest side of what convolves: stem and stages halve the sides five times."""
_NO_LAST_PIXEL = ("convnextv2",)
"""Whose graphs take no last map of a single pixel."""


def main() -> None:
    """Writes the table."""
    write_table(Path(zoo.__file__).with_name("timm.csv"), [entry_of(name) for name in sorted(NAMES)], zoo.Architecture)


def entry_of(name: str) -> zoo.Architecture:
    """The table's entry for an architecture, from timm itself; one that takes odd sizes takes all."""
    config = timm.get_pretrained_cfg(name)
    size = config.input_size[-1]
    network = outline(name)
    momenta = {round(each.momentum, 6) for each in network.modules() if isinstance(each, _BatchNorm)}
    assert len(momenta) <= 1, (name, momenta)
    step = patch(network) if takes_any_size(name) else 1
    fixed = step == 1 and (embedding_is_fixed(network) or not takes(network, 2 * _LEAST_PX[1] + 7))
    least = size if fixed else step if step > 1 else least_px(name, network)
    return zoo.Architecture(
        name=f"{zoo.TIMM}{name}",
        head=config.classifier,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        image_size=size,
        gflops=gflops(network, size),
        min_image_size=least,
        fixed_image_size=fixed,
        gflops_224=None if fixed or size == 224 else gflops_at(name, 224, step),
        batchnorm_momentum=momenta.pop() if momenta else None,
        image_size_step=step,
    )


def outline(name: str, classes: int = 1000, **options: object) -> nn.Module:
    """The network without the memory of its weights."""
    with torch.device("meta"):
        network: nn.Module = timm.create_model(name, num_classes=classes, **options)
    return network.eval()


def patch(network: nn.Module) -> int:
    """Side of its patches in pixels; 1 where it has no plain embedding of patches."""
    embedding = getattr(network, "patch_embed", None)
    return int(embedding.patch_size[0]) if isinstance(embedding, PatchEmbed) else 1


def least_px(name: str, network: nn.Module) -> int:
    """The smallest side of those tried that the network takes."""
    least = next((size for size in _LEAST_PX if takes(network, size)), timm.get_pretrained_cfg(name).input_size[-1])
    return 2 * _LEAST_PX[0] if name.startswith(_NO_LAST_PIXEL) else least


def takes(network: nn.Module, size: int) -> bool:
    """Whether the network takes images of this side."""
    try:
        with torch.device("meta"), torch.no_grad():
            network(torch.zeros(1, 3, size, size))
    except Exception:  # each raises what it likes
        return False
    return True


def takes_any_size(name: str) -> bool:
    """Whether its position embeddings are interpolated to the grid of the images."""
    try:
        outline(name, dynamic_img_size=True)
    except TypeError:
        return False
    return True


def embedding_is_fixed(network: nn.Module) -> bool:
    """Whether something in it was made for one size of images."""
    return (
        any(hasattr(part, "img_size") for part in network.modules())
        or hasattr(network, "pos_embed")
        or any(
            "rel_pos" in key or "relative_position" in key or "attention_bias" in key for key in network.state_dict()
        )
    )


def gflops_at(name: str, size: int, step: int) -> float:
    """At another size than its own, of which it may take no other than a multiple of `step`."""
    network = outline(name, **({"dynamic_img_size": True} if step > 1 else {}))
    nearest = max(round(size / step), 1) * step
    return round(gflops(network, nearest) * (size / nearest) ** 2, 3)


def gflops(network: nn.Module, size: int) -> float:
    """1e9 multiply-adds for an image of `size` px."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        network.requires_grad_(False)(torch.zeros(1, 3, size, size))
    return round(counter.get_total_flops() / 2e9, 3)


if __name__ == "__main__":
    main()
