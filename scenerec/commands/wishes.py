"""What was typed to choose a training: the data, and what of the choice is said beforehand."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from scenerec.config.file import override_path, parse_as
from scenerec.config.job import Name
from scenerec.config.train import TrainConfig
from scenerec.data.packing.nesting import Nested
from scenerec.errors import ConfigError
from scenerec.frozen import find_problems
from scenerec.models.zoo import find_architecture
from scenerec.training.choice.candidates import ARCH, FRAMEWORK, WEIGHTS

DEFAULT_MINUTES = 30.0
DEFAULT_OUTPUT = "s3://scenes"

_ANY_ARCH, _ANY_SIZE_PX = "resnet18", 224
_LONGEST_NAME = 40
_NO_WEIGHTS = ("none", "null", "~", "")
_NO_NAME = "photos"
_BLOCKS = ("data", "data.augment", "model", "optimize", "scale")
_SAID_BY = {
    **{"name": "--name", "output": "--output", "kind": "the command"},
    **{"data.train": "FOLDER", "data.val": "FOLDER", "task": "FOLDER, whose images have one class each"},
}


@dataclass(frozen=True)
class Wishes:
    """What was typed."""

    data: str
    """A folder of images or a packed set."""
    minutes: float
    """How long the training may take."""
    name: str | None
    """Of the run; None for the folder's."""
    output: str
    """Below it lie sets/, runs/ and models/."""
    framework: str | None
    """What trains; None where that is left open."""
    arch: str | None
    """The network; None where that is left open."""
    overrides: tuple[str, ...]
    """Values of --set."""
    splits: str | None
    """As of `data pack`."""
    nested: Nested | None
    """As of `data pack`."""
    processes: int | None
    """Processes that look at images and pack them; None for one a core."""

    @property
    def folder_name(self) -> str:
        """The name of the folder, as far as it can be a run's."""
        last = self.data.rstrip("/").rpartition("/")[2]
        folder = Path(self.data).resolve().name if last in ("", ".", "..") else last  # a link keeps its name
        return re.sub("[^A-Za-z0-9._-]+", "-", folder).strip("-._")[:_LONGEST_NAME].strip("-._") or _NO_NAME

    @property
    def words(self) -> list[str]:
        """The choices that are not by default, as they would be typed again."""
        named = {"--framework": self.framework, "--arch": self.arch, "--name": self.name}
        words = [word for option, value in named.items() if value for word in (option, value)]
        words += ["--minutes", f"{self.minutes:g}"] if self.minutes != DEFAULT_MINUTES else []
        words += ["--output", self.output] if self.output != DEFAULT_OUTPUT else []
        return [*words, *(word for each in self.overrides for word in ("--set", each))]

    def run_name(self) -> str:
        """The name of the run. Raises ConfigError for one that cannot be a run's."""
        try:
            return TypeAdapter(Name).validate_python(self.name or self.folder_name)
        except ValidationError as error:
            raise ConfigError(f"--name {self.name}: {find_problems(error)[0].message}") from None

    def stated(self) -> dict[str, Any]:
        """What was said of the config, by key, and checked: the rest is chosen around it. Raises ConfigError."""
        flags = {FRAMEWORK: self.framework, ARCH: self.arch}
        overrides = [f"{key}={value}" for key, value in flags.items() if value] + list(self.overrides)
        keys = {".".join(override_path(TrainConfig, each.partition("=")[0].strip())) for each in overrides}
        for key in sorted(keys):
            if by := next((by for said, by in _SAID_BY.items() if f"{key}.".startswith(f"{said}.")), None):
                raise ConfigError(f"--set {key}: is said by {by}: leave it out")
        if ARCH not in keys:
            _check_no_weights(self.overrides)
        config = parse_as(TrainConfig, _any_training(overrides), "--set", overrides).model_dump(mode="json")
        return {key: value for name in sorted(keys) for key, value in _leaves(name, config)}


def _check_no_weights(overrides: tuple[str, ...]) -> None:
    """Weights fit one architecture, which may be another than is chosen. Raises ConfigError where they are stated."""
    for key, _, value in (each.partition("=") for each in overrides):
        if key.strip() == WEIGHTS and value.strip() not in _NO_WEIGHTS:
            raise ConfigError(f"--set {WEIGHTS}={value}: are of one architecture: say which, by --arch")


def _any_training(overrides: list[str]) -> str:
    """A file on which overrides can be tried, of an image size that suits their architecture."""
    arch = next((each.partition("=")[2] for each in reversed(overrides) if each.startswith(f"{ARCH}=")), _ANY_ARCH)
    entry = find_architecture(arch)
    image_size = entry.image_size if entry else _ANY_SIZE_PX
    return (
        f"{{kind: train, name: any, framework: torch, output: any, data: {{train: any, val: other, image_size: "
        f"{image_size}}}, model: {{arch: {_ANY_ARCH}}}, optimize: {{epochs: 1000, global_batch_size: 1024, lr: 0.1}}}}"
    )


def _leaves(key: str, document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The values at and below a key."""
    value: Any = document
    for part in key.split("."):
        value = value[part]
    if isinstance(value, dict) and key in _BLOCKS:
        for inner in value:
            yield from _leaves(f"{key}.{inner}", document)
    else:
        yield key, value
