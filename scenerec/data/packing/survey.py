"""A first look at a raw data set's files, none of them decoded: which are there, how large, and which the same."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from scenerec.data.packing.raw_set import Problem, RawImage, RawSet
from scenerec.data.packing.tree import special_kind
from scenerec.errors import DataError
from scenerec.names import clean, shortened

THREADS = 16
BATCH = 500
TAIL_BYTES = 4096
Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Survey:
    """What a first look found in one split."""

    images: tuple[tuple[RawImage, int], ...]
    """The images to pack, in the raw set's order, each with its size in bytes."""
    problems: tuple[Problem, ...]


def survey(raw: RawSet) -> dict[str, Survey]:
    """Looks at every file of a raw set, by split.

    Raises DataError where all images that a class has in a split are missing, empty or duplicates; of a multi-label set
    where no image is left in a split.
    """
    looks = {split: _look(raw.root, images) for split, images in raw.splits.items()}
    digests = _digests(raw.root, [entry for look in looks.values() for entry in look.images])
    of_train: dict[str, RawImage] = {}
    labelled: dict[str, RawImage] = {}
    surveys = {}
    for split, look in looks.items():
        images: list[tuple[RawImage, int]] = []
        lost = list(look.lost)
        contradictions: list[Problem] = []
        first: dict[str, RawImage] = {}
        for entry in look.images:  # kept as it is: for two million files each copy is 100 MB
            image, _ = entry
            digest = digests.get(image.path)
            if digest is None:  # alone of its kind
                images.append(entry)
                continue
            if digest in first:
                lost.append((image, Problem.of("duplicate", image.path, f"same as {first[digest].path}")))
            else:
                images.append(entry)
                first[digest] = image
                if twin := of_train.get(digest):
                    contradictions.append(Problem.of("leaked", image.path, f"same as {twin.path}"))
            if (twin := labelled.setdefault(digest, image)).names != image.names:
                told = f"is {image.named} here, and {twin.named} as {twin.path}"
                contradictions.append(Problem.of("conflict", image.path, told))
        if split == "train":
            of_train = first
        problems = [*raw.problems.get(split, ()), *(problem for _, problem in lost), *contradictions]
        surveys[split] = Survey(tuple(images), tuple(problems))
        _require_all_classes(raw, split, surveys[split], lost)
    return surveys


@dataclass(frozen=True)
class _Look:
    """What is known of a split's files by their status alone."""

    images: tuple[tuple[RawImage, int], ...]
    """Files that are there, each with its size in bytes."""
    lost: tuple[tuple[RawImage, Problem], ...]
    """The others, each with what is wrong."""


def _look(root: Path, images: Sequence[RawImage]) -> _Look:
    """Looks which images' files are there, and not empty."""
    meant = _MeantFiles(root)

    def look(image: RawImage) -> tuple[RawImage, int | Problem]:
        try:
            try:
                status = (root / image.path).stat()
            except (FileNotFoundError, NotADirectoryError):
                path = meant.find(image.path)
                if path is None:
                    return image, Problem.of("missing", image.path, "no such file")
                image = replace(image, path=path)
                status = (root / path).stat()
        except OSError as error:
            return image, Problem.of("missing", image.path, error.strerror or str(error))
        if special := special_kind(status.st_mode):
            return image, Problem.of("special", image.path, special)
        if not stat.S_ISREG(status.st_mode):
            return image, Problem.of("missing", image.path, "a folder, not a file")
        return image, status.st_size or Problem.of("unreadable", image.path, "an empty file")

    there: list[tuple[RawImage, int]] = []
    lost: list[tuple[RawImage, Problem]] = []
    for image, answer in _in_threads(look, images):
        if isinstance(answer, Problem):
            lost.append((image, answer))
        else:
            there.append((image, answer))
    return _Look(tuple(there), tuple(lost))


class _MeantFiles:
    """Files whose names a list spells otherwise: in another Unicode form, with other spaces around, or with `\\`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listings: dict[str, dict[str, list[str]]] = {}

    def find(self, path: str) -> str | None:
        """The only file that this path of a list can mean; None where there is none, or several."""
        here = ""
        for part in path.replace("\\", "/").split("/"):
            names = self._listing(here).get(clean(part), [])
            if not (self.root / here / part).exists():
                if len(names) != 1:
                    return None
                part = names[0]
            here = f"{here}/{part}" if here else part
        return here if (self.root / here).exists() else None

    def _listing(self, folder: str) -> dict[str, list[str]]:
        """The names in a folder by what they are compared by."""
        if folder not in self._listings:
            names: dict[str, list[str]] = {}
            with suppress(OSError):
                for entry in os.scandir(self.root / folder):
                    names.setdefault(clean(entry.name), []).append(entry.name)
            self._listings[folder] = names
        return self._listings[folder]


def _digests(root: Path, images: Sequence[tuple[RawImage, int]]) -> dict[str, str]:
    """SHA-256 of each file that may have a twin: first the sizes must agree, then the ends of the files."""

    def tail_key(entry: tuple[RawImage, int]) -> int:
        """The same of files whose ends are the same; that others have it too is next to impossible, and no harm."""
        image, size_bytes = entry
        digest = _file_digest(root / image.path, size_bytes - TAIL_BYTES)
        return int.from_bytes(hashlib.sha256(os.fsencode(digest)).digest()[:8]) ^ size_bytes

    by_size = _twins(images, np.fromiter((size for _, size in images), np.uint64, len(images)))
    by_tail = _twins(by_size, np.fromiter(_in_threads(tail_key, by_size), np.uint64, len(by_size)))
    digests = _in_threads(lambda entry: _file_digest(root / entry[0].path), by_tail)
    return {image.path: digest for (image, _), digest in zip(by_tail, digests, strict=True)}


def _twins(items: Sequence[Item], keys: np.ndarray) -> list[Item]:
    """The items whose key, of uint64 [items], another item has as well. 8 bytes a key: there may be millions."""
    _, key_index, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return [items[index] for index in np.flatnonzero(counts[key_index] > 1).tolist()]


def _file_digest(path: Path, start: int = 0) -> str:
    """SHA-256 of a file from byte `start`; its name in place of that where it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(start, 0))
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return os.fspath(path)


def _in_threads(function: Callable[[Item], Answer], items: Sequence[Item]) -> Iterator[Answer]:
    """`map` on threads, in batches: a million futures would cost more than the calls."""
    batches = [items[start : start + BATCH] for start in range(0, len(items), BATCH)]
    with ThreadPoolExecutor(THREADS) as executor:
        for answers in executor.map(lambda batch: [function(item) for item in batch], batches):
            yield from answers


def _require_all_classes(raw: RawSet, split: str, found: Survey, lost: Sequence[tuple[RawImage, Problem]]) -> None:
    if raw.is_multilabel and (found.images or not lost):
        return  # a label may be on no image of a split
    present = {name for image, _ in found.images for name in image.names}
    for name in raw.classes:
        if name not in present:
            problem = next(problem for image, problem in lost if raw.is_multilabel or image.class_name == name)
            raise DataError(
                f"{raw.root}: class `{shortened(name)}` has no usable image in {split}: {shortened(problem.path)}: "
                f"{problem.detail} (one of {len(found.problems)} such files)"
            )
