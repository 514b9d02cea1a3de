"""The pictures of a data set, packed or not, in parts that processes deal with, and some of them again by name."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from scenerec.errors import first_line, system_reason

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

    def __len__(self) -> int:
        return self.data.manifest.samples

    def pictures(self) -> Iterator[Encoded]:
        """Reads the shard. Raises DataError, StorageError."""
        shard, classes = self.data.manifest.shards[0].key, self.data.manifest.classes
        where = f"{self.split}/{shard}" if self.split else shard
        for sample in self.data.read(0):
            yield Encoded(f"{where}:{sample.key}", self.split, classes[sample.label], sample.image)


Part = FolderPart | ShardPart


def packed_parts(url: str) -> list[ShardPart]:
    """The shards of a packed set, or of the sets of its splits. Raises DataError where there is none, StorageError."""
    return [
        ShardPart(split, replace(data, manifest=data.manifest.model_copy(update={"shards": (shard,)})))
        for split, data in open_splits(url).items()
        for shard in data.manifest.shards
    ]


def folder_parts(source: Path, choices: Choices) -> list[FolderPart]:
    """The images of a folder that could be packed. Raises DataError for one that cannot."""
    raw = read_raw_set(source, choices=choices)
    alone = len(raw.splits) == 1
    return parts_of(raw.root, {"" if alone else split: images for split, images in raw.splits.items()})


def parts_of(root: Path, splits: Mapping[str, Sequence[RawImage]]) -> list[FolderPart]:
    """The images of a data set by their splits; paths are relative to `root`."""
    files = [(image.path, split, image.class_name) for split, images in splits.items() for image in images]
    ends = range(0, len(files), _FILES_AT_ONCE)
    return [FolderPart(root, tuple(files[begin : begin + _FILES_AT_ONCE])) for begin in ends]


def read_facts(
    parts: Sequence[Part],
    run: Runner | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[PictureFacts]:
    """Decodes and measures all pictures, in any order; `on_progress` is called with those done and all."""
    facts: list[PictureFacts] = []
    total = sum(map(len, parts))
    on_progress(0, total)
    for some in (run or process_runner(1))(_measure, parts):
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


def _measure(part: Part) -> list[PictureFacts]:
    return [_facts(picture) for picture in part.pictures()]


def _facts(picture: Encoded) -> PictureFacts:
    where = picture.path, picture.split, picture.class_name
    if isinstance(picture.content, OSError):
        return PictureFacts(*where, b"", unreadable=system_reason(picture.content))
    digest = image_digest(picture.content)
    try:
        return measure(*where, digest, open_source(picture.content).upright())
    except PictureError as error:
        return PictureFacts(*where, digest, unreadable=first_line(error))
