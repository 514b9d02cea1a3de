"""The pictures of a data set, packed or not, in parts that processes deal with, and some of them again by name."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from scenerec.data.contents import image_digest
from scenerec.data.packed_set import PackedSet, open_splits
from scenerec.data.packing.choices import Choices
from scenerec.data.packing.formats import open_source
from scenerec.data.packing.layouts import read_raw_set
from scenerec.data.packing.raw_set import RawImage
from scenerec.data.picture import PictureError
from scenerec.data.pool import Runner, process_runner
from scenerec.data.quality.facts import PictureFacts, measure
from scenerec.errors import DataError, first_line, system_reason

_FILES_AT_ONCE = 64


class Encoded(NamedTuple):
    """A picture as it lies there."""

    path: str
    split: str
    class_name: str
    content: bytes | OSError


@dataclass(frozen=True)
class FolderPart:
    """Some files of a folder."""

    root: Path
    files: tuple[tuple[str, str, str], ...]
    """Path relative to the root, split and class of each."""

    def __len__(self) -> int:
        return len(self.files)

    @property
    def classes(self) -> frozenset[str]:
        """The classes of the files."""
        return frozenset(class_name for _, _, class_name in self.files)

    @property
    def fingerprints(self) -> dict[str, str | None]:
        """Of the packed sets by split: there are none."""
        return dict.fromkeys(split for _, split, _ in self.files)

    def pictures(self) -> Iterator[Encoded]:
        """Reads the files."""
        for path, split, class_name in self.files:
            content: bytes | OSError
            try:
                content = (self.root / path).read_bytes()
            except OSError as error:
                content = error
            yield Encoded(path, split, class_name, content)


@dataclass(frozen=True)
class ShardPart:
    """A shard of a packed set."""

    split: str
    data: PackedSet
    """The set as if it had this shard only."""
    fingerprints: dict[str, str | None]
    """That of the whole set, by its split."""

    @property
    def classes(self) -> frozenset[str]:
        """All classes of the set."""
        return frozenset(self.data.manifest.classes)

    def __len__(self) -> int:
        return self.data.manifest.samples

    def pictures(self) -> Iterator[Encoded]:
        """Reads the shard. Raises DataError, StorageError."""
        shard, labelling = self.data.manifest.shards[0].key, self.data.manifest.labelling
        where = f"{self.split}/{shard}" if self.split else shard
        for sample in self.data.read(0):
            yield Encoded(f"{where}:{sample.key}", self.split, labelling.named(sample.label), sample.image)


Part = FolderPart | ShardPart


def packed_parts(url: str) -> list[ShardPart]:
    """The shards of a packed set, or of the sets of its splits. Raises DataError where there is none, StorageError."""
    sets = open_splits(url)
    _check_single(url, any(data.manifest.is_multilabel for data in sets.values()))
    return [
        ShardPart(
            split,
            replace(data, manifest=data.manifest.model_copy(update={"shards": (shard,)})),
            {split: data.manifest.fingerprint},
        )
        for split, data in sets.items()
        for shard in data.manifest.shards
    ]


def folder_parts(source: Path, choices: Choices) -> list[FolderPart]:
    """The images of a folder that could be packed. Raises DataError for one that cannot."""
    raw = read_raw_set(source, choices=choices)
    _check_single(str(source), raw.is_multilabel)
    alone = len(raw.splits) == 1
    return parts_of(raw.root, {"" if alone else split: images for split, images in raw.splits.items()})


def _check_single(where: str, is_multilabel: bool) -> None:
    if is_multilabel:
        raise DataError(
            f"{where}: has several labels an image, and what is looked for is a picture in the wrong class: "
            "`scenerec evaluate --report` shows the labels of which a model is surest that they are wrong"
        )


def parts_of(root: Path, splits: Mapping[str, Sequence[RawImage]]) -> list[FolderPart]:
    """The images of a data set by their splits; paths are relative to `root`."""
    files = [(image.path, split, image.class_name) for split, images in splits.items() for image in images]
    ends = range(0, len(files), _FILES_AT_ONCE)
    return [FolderPart(root, tuple(files[begin : begin + _FILES_AT_ONCE])) for begin in ends]


def read_facts(
    parts: Sequence[Part],
    run: Runner | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    with_features: bool = False,
) -> list[PictureFacts]:
    """Decodes and measures all pictures, in any order; `on_progress` is called with those done and all.

    With their features, where it is said, by which their labels can be judged.
    """
    facts: list[PictureFacts] = []
    total = sum(map(len, parts))
    on_progress(0, total)
    for some in (run or process_runner(1))(partial(_measure, with_features=with_features), parts):
        facts += some
        on_progress(len(facts), total)
    return facts


def read_pictures(parts: Sequence[Part], paths: Iterable[str]) -> dict[str, bytes]:
    """The encoded pictures at some paths, read again: of a packed set the shards that have them."""
    wanted = set(paths)
    by_part: dict[int, set[str]] = defaultdict(set)
    for number, part in enumerate(parts):
        if isinstance(part, FolderPart):
            by_part[number] = wanted & {path for path, _, _ in part.files}
        else:
            where = (
                f"{part.split}/{part.data.manifest.shards[0].key}:"
                if part.split
                else f"{part.data.manifest.shards[0].key}:"
            )
            by_part[number] = {path for path in wanted if path.startswith(where)}
    found: dict[str, bytes] = {}
    for number, some in by_part.items():
        part = parts[number]
        if some and isinstance(part, FolderPart):
            part = replace(part, files=tuple(file for file in part.files if file[0] in some))
        for picture in part.pictures() if some else ():
            if picture.path in some and isinstance(picture.content, bytes):
                found[picture.path] = picture.content
    return found


def _measure(part: Part, with_features: bool) -> list[PictureFacts]:
    return [_facts(picture, with_features) for picture in part.pictures()]


def _facts(picture: Encoded, with_features: bool) -> PictureFacts:
    where = picture.path, picture.split, picture.class_name
    if isinstance(picture.content, OSError):
        return PictureFacts(*where, b"", unreadable=system_reason(picture.content))
    digest = image_digest(picture.content)
    try:
        return measure(*where, digest, open_source(picture.content).upright(), with_features)
    except PictureError as error:
        return PictureFacts(*where, digest, unreadable=first_line(error))
