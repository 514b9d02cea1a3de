"""The architectures a config can name: torchvision's and timm's ImageNet classifiers, as data, without torch."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from scenerec.errors import ModelError
from scenerec.models.table import read_table
from scenerec.names import did_you_mean

TIMM = "timm/"
"""With what the names of timm's architectures begin; torchvision's stand alone."""

_COMPARED_AT_PX = 224


@dataclass(frozen=True)
class Architecture:
    """One classifier of torchvision or timm; a row of zoo.csv or timm.csv.

    Attributes:
        name: torchvision's name of it, or timm's behind `timm/`, which is the config's `model.arch`.
        head: module path of its classifying layer; the other layers are the backbone.
        parameters: trainable parameters at 1000 classes, as published (Inception's count its auxiliary head).
        image_size: side in pixels at which its published ImageNet weights are evaluated.
        gflops: 1e9 multiply-adds for one image of `image_size`.
        min_image_size: smallest side in pixels that it takes.
        image_size_step: it takes sides that are multiples of this.
        fixed_image_size: it takes images of `image_size` only.
        gflops_224: as `gflops`, for an image of 224 px; None where that is `image_size`.
        batchnorm_momentum: weight of a batch in its BatchNorm's running statistics; None where it has no BatchNorm.
    """

    name: str
    head: str
    parameters: int
    image_size: int
    gflops: float
    min_image_size: int = 1
    fixed_image_size: bool = False
    gflops_224: float | None = None
    batchnorm_momentum: float | None = None
    image_size_step: int = 1

    def gflops_at(self, image_size: int) -> float:
        """1e9 multiply-adds for one image of `image_size`: those at 224 px, which grow with the area."""
        at_224 = self.gflops_224 or self.gflops * (_COMPARED_AT_PX / self.image_size) ** 2
        return at_224 * (image_size / _COMPARED_AT_PX) ** 2


@dataclass(frozen=True)
class TimmArchitecture(Architecture):
    """A classifier of timm beyond the chosen ones; a row of timm_more.csv, which `make bench-twins` writes.

    Attributes:
        drops: something is dropped of it in training, as it is published.
        drop_path: its blocks have layers of stochastic depth, or places for them.
        conv_head: its head is a convolution of 1 by 1 pixels.
    """

    drops: bool = False
    drop_path: bool = False
    conv_head: bool = False


@dataclass(frozen=True)
class RefusedArchitecture:
    """A classifier of timm of which there is no twin; a row of timm_refused.csv."""

    name: str
    cause: str


_FOLDER = Path(__file__).parent
_TABLES = ("zoo.csv", "timm.csv")

ARCHITECTURES = {entry.name: entry for table in _TABLES for entry in read_table(_FOLDER / table, Architecture)}
"""The chosen ones by name, torchvision's first: each is tried to the end, from training to the exported graph."""

TORCHVISION = tuple(name for name in ARCHITECTURES if not name.startswith(TIMM))
"""The names of torchvision's."""


@cache
def more_of_timm() -> dict[str, TimmArchitecture]:
    """By name the other architectures of timm that can be trained: their twins' logits are torch's."""
    return {entry.name: entry for entry in read_table(_FOLDER / "timm_more.csv", TimmArchitecture)}


@cache
def refused_of_timm() -> dict[str, str]:
    """By name the architectures of timm that cannot be trained, each with what is missing."""
    return {entry.name: entry.cause for entry in read_table(_FOLDER / "timm_refused.csv", RefusedArchitecture)}


def find_architecture(name: str) -> Architecture | None:
    """The entry for the architecture `name`, whether chosen or not; None where there is none that can be trained."""
    return ARCHITECTURES.get(name) or (more_of_timm().get(name) if name.startswith(TIMM) else None)


def split_tag(name: str) -> tuple[str, str]:
    """An architecture, and the tag of published weights that timm writes behind a dot; "" where there is none.

    `timm/vit_small_patch14_dinov2.lvd142m` is `timm/vit_small_patch14_dinov2` and `lvd142m`. torchvision's names have
    no dot. Neither part is looked up.
    """
    arch, _, tag = name.partition(".")
    return arch, tag


def architecture(name: str) -> Architecture:
    """The table's entry for the architecture `name`.

    Raises:
        ModelError: there is none; the message says why, or suggests the nearest name.
    """
    if found := find_architecture(name):
        return found
    if cause := refused_of_timm().get(name) if name.startswith(TIMM) else None:
        raise ModelError(f"{name} cannot be trained here, for {cause}; `scenerec models --all` lists what can")
    known = [*ARCHITECTURES, *more_of_timm()] if name.startswith(TIMM) else ARCHITECTURES
    hints = (did_you_mean(name.lower(), known, "'"), "`scenerec models` lists them all")
    raise ModelError(f"unknown architecture {name!r}: {' '.join(filter(None, hints))}")


def check_image_size(name: str, image_size: int) -> None:
    """Refuse square images that the architecture cannot take.

    Raises:
        ModelError: there is no architecture `name`, or images of `image_size` pixels are too small for it, or not the
            one size that it takes.
    """
    entry = architecture(name)
    if entry.fixed_image_size and image_size != entry.image_size:
        raise ModelError(f"{name} takes images of {entry.image_size} px only, not {image_size}")
    if image_size < entry.min_image_size:
        raise ModelError(f"{name} takes images of at least {entry.min_image_size} px, not {image_size}")
    if image_size % entry.image_size_step:
        step = entry.image_size_step
        nearest = max(round(image_size / step), 1) * step
        raise ModelError(f"{name} takes images of a multiple of {step} px, not {image_size}: the nearest is {nearest}")
