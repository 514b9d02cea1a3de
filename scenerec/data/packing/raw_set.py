"""A data set as it lies on disk before it is packed, and what of it is not simply packed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from scenerec.data.coordinates import Coordinates
from scenerec.data.labels import SEPARATOR
from scenerec.frozen import Frozen
from scenerec.names import printable

ProblemKind = Literal[
    "missing", "unreadable", "format", "duplicate", "stray", "special", "leaked", "conflict", "coordinates"
]
PACKED_ALL_THE_SAME: tuple[ProblemKind, ...] = ("leaked", "conflict", "coordinates")
"""Kinds of problems that leave no file out."""


class Problem(Frozen):
    """A source file that is not simply packed."""

    kind: ProblemKind
    """`leaked`: an image of another split stands in train too; `conflict`: it stands under another class as well;
    `coordinates`: its EXIF says impossible ones, and it has none."""
    path: str
    """Relative to the root of the set; bytes that are no UTF-8, and controls, are escaped."""
    detail: str

    @classmethod
    def of(cls, kind: ProblemKind, path: str, detail: str) -> "Problem":
        """The problem of a file, whatever its name."""
        return cls(kind=kind, path=printable(path), detail=printable(detail))


@dataclass(frozen=True, slots=True)
class RawImage:
    """A file that a data set calls an image."""

    path: str
    """Path relative to the root of the set, with forward slashes."""
    class_name: str
    """The class; of a multi-label set empty."""
    coordinates: Coordinates | None = None
    """Where and when it was taken, where a list says it."""
    labels: tuple[str, ...] | None = None
    """All labels of an image of a multi-label set; None in others."""

    @property
    def names(self) -> tuple[str, ...]:
        """The class, or all labels."""
        return (self.class_name,) if self.labels is None else self.labels

    @property
    def named(self) -> str:
        """The class, or all labels, in words."""
        return self.class_name if self.labels is None else SEPARATOR.join(self.labels) or "-"


@dataclass(frozen=True)
class RawSet:
    """A data set as it lies on disk before it is packed: its images, listed."""

    layout: str
    root: Path
    classes: tuple[str, ...]
    """Class names in order of class index."""
    splits: dict[str, tuple[RawImage, ...]]
    origins: Mapping[str, str] = field(default_factory=dict)
    """By split the folder or list that it was found in, for people."""
    problems: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)
    """By split what is there and is no image of it."""
    remarks: tuple[str, ...] = ()
    """What else was found, and is left out or perhaps meant otherwise, in words."""
    inner: str = ""
    """Path, relative to the root, of the folder in which splits or classes lie."""
    is_multilabel: bool = False
    """Whether an image has any number of labels, rather than one class."""
