"""The encoded images of a listed part, read ahead of whoever decodes them."""

import errno
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from scenerec.data.coordinates import Coordinates
from scenerec.data.packed_set import PackedSet, open_set
from scenerec.errors import DataError, NotFoundError, StorageError, system_reason
from scenerec.inference.bulk.listing import ListedImage, ListedShard, Part
from scenerec.storage import Patience, S3Storage, Storage

_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT)
"""Errors of the machine, not of a file."""
_GONE = "is gone since it was listed"
_LARGEST_BYTES = 256 << 20  # uncompressed 50 million pixels, and more


class UnreadableError(DataError):
    """An image that cannot be read, and never could be by another try."""


class Photograph(NamedTuple):
    """An encoded image, which may be on its way."""

    image: str
    """Address of the image; of a sample that of its shard, and its key."""
    content: Callable[[], bytes]
    """Waits for the encoded image. Raises UnreadableError, StorageError."""
    size_bytes: int
    """Bytes that it holds or will hold in memory."""
    coordinates: Coordinates | None = None
    """Where and when it was taken, as a packed set says it."""


class OpenPart:
    """A part whose images are on their way: its shard is fetched from now on, other images when they are yielded.

    Args:
        part: what is to be read.
        reading: reads; `Photograph.content` and `photographs` wait for it.
        patience: how long a store is waited for.
    """

    def __init__(self, part: Part, reading: Executor, patience: Patience) -> None:
        self._part, self._reading, self._patience = part, reading, patience
        self._shard = reading.submit(_read_shard, part, patience) if isinstance(part, ListedShard) else None

    @property
    def is_there(self) -> bool:
        """Whether `photographs` need not wait."""
        return self._shard is None or self._shard.done()

    def photographs(self) -> Iterator[Photograph]:
        """Yields the images in order. Raises DataError where a shard is not the one that was listed, StorageError."""
        if self._shard is not None:
            yield from self._shard.result()
        elif not isinstance(self._part, ListedShard):
            for listed in self._part:
                content = self._reading.submit(read_listed, listed, self._patience)
                yield Photograph(listed.image, content.result, listed.size_bytes)


def read_listed(listed: ListedImage, patience: Patience) -> bytes:
    """Reads an image.

    Raises UnreadableError where it alone cannot be read. Raises StorageError where its store is away, where the machine
    is out of something, and where its folder or bucket is not there: this machine may not see them.
    """
    if listed.size_bytes > _LARGEST_BYTES:
        raise UnreadableError(f"is larger than {_LARGEST_BYTES >> 20} MB")
    if listed.image.startswith("s3://"):
        return read_stored(listed.image, patience)
    try:
        return Path(listed.image).read_bytes()
    except FileNotFoundError:
        if not (folder := Path(listed.image).parent).is_dir():
            raise StorageError(
                f"{folder}: is not there, or not seen by this machine: {listed.image} was listed"
            ) from None
        raise UnreadableError(_GONE) from None
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _PASSING:
            raise StorageError(f"{listed.image}: {error.strerror}") from None
        raise UnreadableError(f"cannot be read: {system_reason(error)}") from None


def read_stored(image: str, patience: Patience) -> bytes:
    """Reads an image at an s3:// address. Raises UnreadableError where it is gone, StorageError."""
    bucket, _, key = image.removeprefix("s3://").partition("/")
    try:
        return _bucket(bucket, patience).get(key)
    except NotFoundError as error:
        if "no bucket" in str(error):
            raise
        raise UnreadableError(_GONE) from None


def _read_shard(listed: ListedShard, patience: Patience) -> list[Photograph]:
    data = _open_set(listed.set, patience)
    shards = {shard.key: index for index, shard in enumerate(data.manifest.shards)}
    index = shards.get(listed.shard)
    if index is None or data.manifest.shards[index].sha256 != listed.sha256:
        raise DataError(f"{listed.set}: {listed.shard} is not the shard that was listed: --overwrite begins anew")
    where = data.shard_url(index)
    return [
        Photograph(f"{where}/{key}", partial(bytes, image), len(image), place)
        for key, image, _, place in data.read(index)
    ]


@lru_cache(maxsize=8)
def _open_set(url: str, patience: Patience) -> PackedSet:
    return open_set(url, patience=patience)


def _bucket(bucket: str, patience: Patience) -> Storage:
    """One for all objects of a bucket: each has a client, which many threads would else make at once."""
    with _opening:
        return _open_bucket(bucket, patience)


_opening = threading.Lock()


@lru_cache(maxsize=8)
def _open_bucket(bucket: str, patience: Patience) -> Storage:
    storage = S3Storage(bucket, patience=patience)
    with suppress(Exception):  # where it cannot be made, the first request says why
        storage.client  # noqa: B018 - made while the others wait
    return storage
