"""A first look at a raw data set's files, none of them decoded: which are there, how large, and which the same."""

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from scenerec.data.packing.layouts import RawImage, RawSet
from scenerec.errors import DataError
from scenerec.frozen import Frozen

THREADS = 16
BATCH = 500
TAIL_BYTES = 4096
Item = TypeVar("Item")
Answer = TypeVar("Answer")

ProblemKind = Literal["missing", "unreadable", "format", "duplicate", "stray", "leaked"]


class Problem(Frozen):
    """A source file that is not simply packed."""

    kind: ProblemKind
    """`leaked` (an image of another split that stands in train too) is packed all the same, the others are not."""
    path: str
    """Relative to the source."""
    detail: str


@dataclass(frozen=True)
class Survey:
    """What a first look found in one split."""

    images: tuple[tuple[RawImage, int], ...]
    """The images to pack, in the raw set's order, each with its size in bytes."""
    problems: tuple[Problem, ...]


def survey(raw: RawSet) -> dict[str, Survey]:
    """Looks at every file of a raw set, by split.

    Raises DataError where all images that a class has in a split are missing, empty or duplicates.
    """
    splits = {name: _present(raw, images) for name, images in raw.splits.items()}
    digests = _digests(raw.root, [entry for found in splits.values() for entry in found.images])
    train: dict[str, str] = {}
    surveys = {}
    for split, found in splits.items():
        strays = [path for path in raw.strays if path.startswith(f"{split}/")]
        images = []
        problems = [Problem(kind="stray", path=path, detail="in no class folder") for path in strays]
        problems += found.problems
        first: dict[str, str] = {}
        for image, size_bytes in found.images:
            digest = digests.get(image.path)
            if digest in first:
                problems.append(Problem(kind="duplicate", path=image.path, detail=f"same as {first[digest]}"))
                continue
            if digest in train:
                problems.append(Problem(kind="leaked", path=image.path, detail=f"same as {train[digest]}"))
            if digest:
                first[digest] = image.path
            images.append((image, size_bytes))
        if split == "train":
            train = first
        surveys[split] = Survey(tuple(images), tuple(problems))
        _require_all_classes(raw, split, surveys[split])
    return surveys


def _present(raw: RawSet, images: Sequence[RawImage]) -> Survey:
    """The images whose files are there and not empty."""

    def size_bytes(image: RawImage) -> int | None:
        try:
            status = (raw.root / image.path).stat()
        except OSError:
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    found, problems = [], []
    for image, size in zip(images, _in_threads(size_bytes, images), strict=True):
        if size is None:
            problems.append(Problem(kind="missing", path=image.path, detail="no such file"))
        elif size == 0:
            problems.append(Problem(kind="unreadable", path=image.path, detail="an empty file"))
        else:
            found.append((image, size))
    return Survey(tuple(found), tuple(problems))


def _digests(root: Path, images: Sequence[tuple[RawImage, int]]) -> dict[str, str]:
    """SHA-256 of each file that may have a twin: first the sizes must agree, then the ends of the files."""
    by_size = _twins(images, [size for _, size in images])
    tails = _in_threads(lambda entry: _file_digest(root / entry[0].path, entry[1] - TAIL_BYTES), by_size)
    by_tail = _twins(by_size, [(size, tail) for (_, size), tail in zip(by_size, tails, strict=True)])
    digests = _in_threads(lambda entry: _file_digest(root / entry[0].path), by_tail)
    return {image.path: digest for (image, _), digest in zip(by_tail, digests, strict=True)}


def _twins(items: Sequence[Item], keys: Sequence[Hashable]) -> list[Item]:
    """The items whose key another item has as well."""
    counts = Counter(keys)
    return [item for item, key in zip(items, keys, strict=True) if counts[key] > 1]


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


def _require_all_classes(raw: RawSet, split: str, found: Survey) -> None:
    present = {image.class_name for image, _ in found.images}
    lost = next((name for name in raw.classes if name not in present), None)
    if lost is None:
        return
    paths = {image.path for image in raw.splits[split] if image.class_name == lost}
    problem = next(problem for problem in found.problems if problem.path in paths)
    raise DataError(
        f"{raw.root}: class `{lost}` has no usable image in {split}: {problem.path}: {problem.detail}"
        f" (one of {len(found.problems)} such files)"
    )
