"""Published weights by name, as data: torchvision's, the Places365 project's, and timm's. Needs no torch."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from scenerec.errors import ModelError
from scenerec.models.preprocessing import IMAGENET, Channels, Interpolation, WeightPreprocessing
from scenerec.models.table import read_table
from scenerec.models.zoo import architecture
from scenerec.names import did_you_mean

_NAME = re.compile(r"\w+")
HUB_FILE = "model.safetensors"
"""How the file of weights is called in a repository of the Hugging Face hub."""


def _numbers(cell: Any) -> Any:
    return tuple(cell.split()) if isinstance(cell, str) else cell


_Numbers = Annotated[Channels, BeforeValidator(_numbers)]


@dataclass(frozen=True)
class PublishedWeights:
    """A file of weights that its makers offer for download; a row of published.csv or timm.csv.

    Attributes:
        arch: the architecture, by its name in the zoo.
        name: torchvision's name of the weights (IMAGENET1K_V2), timm's tag (lvd142m), or places365.
        url: where they are.
        classes: outputs of the head; 0 of weights without a head.
        image_size: side in pixels of the images that they were evaluated on.
        default: torchvision calls them DEFAULT; of timm its first.
        sha256: first hexadecimal digits of the file's checksum; "" where none is published.
        top1: published top-1 accuracy in percent, of the data set they were trained on; None where it is not known.
        top5: the same for top-5.
        licence: name of their licence, in `scenerec.models.weights.licences`.
        mean: of red, green and blue in [0, 1], as the network takes them; three numbers in a cell. That of
            EfficientNetV2-L is ImageNet's here, which the network turns into its own (see torch_model).
        std: their deviation.
        interpolation: filter by which photographs are resized for them.
        eval_crop_ratio: image_size over the side to which the short one of a photograph is resized.
    """

    arch: str
    name: str
    url: str
    classes: int
    image_size: int
    default: bool = False
    sha256: str = ""
    top1: float | None = None
    top5: float | None = None
    licence: str = ""
    mean: _Numbers = IMAGENET.mean
    std: _Numbers = IMAGENET.std
    interpolation: Interpolation = IMAGENET.interpolation
    eval_crop_ratio: float = IMAGENET.eval_crop_ratio

    @property
    def file(self) -> str:
        """Name of the file on this side; no two have the same. On the Hugging Face hub a repository has but one."""
        *_, repository, _, _, file = f"///{self.url}".split("/")
        return f"{repository}.{file.partition('.')[2]}" if file == HUB_FILE else file

    @property
    def preprocessing(self) -> WeightPreprocessing:
        """What they expect of the pixels: as they were evaluated by who published them."""
        fields = {field: getattr(self, field) for field in WeightPreprocessing.model_fields}
        return WeightPreprocessing(**fields)

    @property
    def figures(self) -> str:
        """What they reach, by who published them, in words; "" where that is not known."""
        if self.top1 is None:
            return ""
        top5 = f", top-5 {self.top5:.2f} %" if self.top5 else ""
        return f"top-1 {self.top1:.2f} %{top5} at {self.image_size} px, as published"

    @property
    def fits(self) -> bool:
        """Whether the architecture takes images of `image_size`; else the weights embed positions of another size."""
        entry = architecture(self.arch)
        return not entry.fixed_image_size or entry.image_size == self.image_size


def all_published() -> tuple[PublishedWeights, ...]:
    """Everything that was published for any architecture."""
    return _table()


def published_weights(arch: str) -> tuple[PublishedWeights, ...]:
    """What was published for `arch`, which is a name of the zoo."""
    return tuple(entry for entry in _table() if entry.arch == arch)


def is_name(weights: str) -> bool:
    """Whether `model.weights` is a name, rather than a URL or a path, which has a dot, a slash or a dollar sign."""
    return _NAME.fullmatch(weights) is not None


def find_weights(arch: str, name: str) -> PublishedWeights:
    """The weights of `arch` that are called `name`; DEFAULT are torchvision's best.

    Raises:
        ModelError: there are none, or they are for images of another size than `arch` takes; the message
            lists those that there are.
    """
    known = published_weights(arch)
    names = [entry.name for entry in known if entry.fits]
    found = next((entry for entry in known if entry.name == name or (entry.default and name == "DEFAULT")), None)
    if found is None and not names:
        raise ModelError(f"nothing was published for {arch}: take `none`, or the path or URL of a file")
    if found is None:
        hints = (
            did_you_mean(name.upper(), names) or did_you_mean(name.lower(), names),
            f"there are {', '.join(names)}",
        )
        raise ModelError(
            f"nothing was published for {arch} as {name}: {' '.join(filter(None, hints))}; "
            f"of a file or folder write the whole path, such as ./{name}"
        )
    if not found.fits:
        raise ModelError(
            f"{found.name} of {arch} is for images of {found.image_size} px, which the architecture does not take "
            f"here: there are {', '.join(names)}"
        )
    return found


def best_weights(arch: str) -> PublishedWeights | None:
    """The weights of the highest published top-1 accuracy among those that `arch` takes; None where there are none."""
    return max(
        (entry for entry in published_weights(arch) if entry.fits), key=lambda entry: entry.top1 or 0, default=None
    )


@cache
def _table() -> tuple[PublishedWeights, ...]:
    tables = (Path(__file__).with_name(file) for file in ("published.csv", "timm.csv"))
    return tuple(row for table in tables for row in read_table(table, PublishedWeights))
