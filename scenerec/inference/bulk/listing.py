"""The images of a bulk prediction in their fixed order, cut into parts: what is listed once, and answered part by part.

A part is a run of listed images, or a shard of a packed set. Its text has a JSON object a line.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from scenerec.data.manifest import MANIFEST_KEY
from scenerec.data.packed_set import open_set
from scenerec.data.packing.tree import is_left_behind
from scenerec.data.picture import FORMAT_NAMES, SUFFIXES
from scenerec.errors import ConfigError, DataError, NotFoundError
from scenerec.storage import Patience, Storage, open_storage, split_url

_LEAST_IMAGES, _MOST_IMAGES = 128, 1024  # of a part: seconds of work, and up to a megabyte of a table
_PARTS = 64  # as long as the images are too few for that
_SHARD_SUFFIXES = (".tar", ".tar.gz", ".tgz")


class ListedImage(NamedTuple):
    """An encoded image that is an object or a file."""

    image: str
    """Address of the image."""
    size_bytes: int
    """Size of the object, when it was listed."""


class ListedShard(NamedTuple):
    """A shard of a packed set, whose samples are images."""

    set: str
    """Address of the set."""
    shard: str
    """Key of the shard in the set's manifest."""
    sha256: str
    """Checksum of the shard."""
    samples: int
    """Samples of the shard."""


Listed = ListedImage | ListedShard
"""What a listing has in a line."""

Part = tuple[ListedImage, ...] | ListedShard
"""What is answered, and written, at once."""


def images_of(part: Part) -> int:
    """Counts the images of a part."""
    return part.samples if isinstance(part, ListedShard) else len(part)


def list_images(sources: Sequence[str], patience: Patience) -> Iterator[Listed]:
    """Lists the images of all sources, in the sources' order and by key; of packed sets the shards.

    Raises ConfigError where one source lies in another, DataError where one has no image, StorageError.
    """
    check_sources(sources)
    for source in sources:
        yield from _list_source(source, patience)


def cut_parts(listed: Iterable[Listed], images_per_part: int | None = None) -> Iterator[Part]:
    """Cuts a listing into parts of so many images; a shard is a part of its own.

    Without a number they have 1024 images, and fewer where the listing is short: then many workers have work. What the
    parts are depends on the listing alone.
    """
    entries = iter(listed)
    first = list(islice(entries, _PARTS * _MOST_IMAGES)) if images_per_part is None else []
    size = images_per_part or min(_MOST_IMAGES, max(_LEAST_IMAGES, -(-len(first) // _PARTS)))
    images: list[ListedImage] = []
    for entry in chain(first, entries):
        if isinstance(entry, ListedImage):
            images.append(entry)
        if images and (isinstance(entry, ListedShard) or len(images) == size):
            yield tuple(images)
            images = []
        if isinstance(entry, ListedShard):
            yield entry
    if images:
        yield tuple(images)


def check_sources(sources: Sequence[str]) -> None:
    """Raises ConfigError where a source is named twice, or lies in another: its images would be answered twice."""
    named: set[str] = set()
    for source in sources:
        if source in named:
            raise ConfigError(f"{source}: is named twice: leave it out once")
        named.add(source)
    for source in sources:
        if outer := next((str(above) for above in _folders_above(source) if str(above) in named), None):
            raise ConfigError(f"{source}: lies in {outer}, which is named as well: leave one of them out")


def entries_of(part: Part) -> tuple[Listed, ...]:
    """The lines of a part."""
    return (part,) if isinstance(part, ListedShard) else part


def encode_part(part: Part) -> bytes:
    """The text of a part, which `decode_part` reads."""
    return "".join(f"{json.dumps(each._asdict())}\n" for each in entries_of(part)).encode()


def decode_part(content: bytes, where: str) -> Part:
    """The part of a text. Raises DataError that names `where` it was for one that is damaged."""
    try:
        lines = [json.loads(line) for line in content.splitlines()]
        if "shard" in lines[0]:
            return ListedShard(**lines[0])
        return tuple(ListedImage(**line) for line in lines)
    except (ValueError, TypeError, IndexError):
        raise DataError(f"{where}: is damaged: --overwrite begins anew") from None


def _list_source(source: str, patience: Patience) -> Iterator[Listed]:
    if not source.startswith("s3://") and Path(source).is_file():
        yield ListedImage(source, Path(source).stat().st_size)
        return
    storage = open_storage(source, patience)
    if storage.size(MANIFEST_KEY) is not None:
        data = open_set(source, patience=patience)
        for shard in data.manifest.shards:
            yield ListedShard(data.url, shard.key, shard.sha256, shard.samples)
        return
    if source.startswith("s3://") and (size_bytes := _size_of_object(source, patience)) is not None:
        yield ListedImage(source, size_bytes)
        return
    yield from _list_folder(storage)


def _list_folder(storage: Storage) -> Iterator[ListedImage]:
    """The images of a folder by key, without what programs leave. Raises DataError where there is none."""
    found, shard = False, ""
    for each in storage.list():
        if any(map(is_left_behind, each.key.split("/"))):
            continue
        if each.key.lower().endswith(SUFFIXES):
            found = True
            yield ListedImage(f"{storage.url}/{each.key}", each.size_bytes)
        elif each.key.endswith(_SHARD_SUFFIXES) or each.key.endswith(f"/{MANIFEST_KEY}"):
            shard = shard or each.key
    if not found:
        is_missing = not storage.url.startswith("s3://") and not Path(storage.url).exists()
        if is_missing:
            raise NotFoundError(f"{storage.url}: no such file or folder")
        remedy = f": it holds {shard}: name a packed set, or make one (`scenerec data adopt`)" if shard else ""
        raise DataError(f"{storage.url}: has no {FORMAT_NAMES} image in it{remedy}")


def _size_of_object(source: str, patience: Patience) -> int | None:
    folder, key = split_url(source)
    return open_storage(folder, patience).size(key) if key else None


def _folders_above(source: str) -> Iterable[str]:
    scheme, _, path = source.rpartition("://")
    start = f"{scheme}://" if scheme else ""
    return (f"{start}{above}" for above in PurePosixPath(path).parents)
