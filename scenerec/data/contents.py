"""What shards hold, sample by sample, where their manifest does not tell it: they are read from end to end."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from scenerec.data.coordinates import Coordinates
from scenerec.data.labels import Label
from scenerec.data.manifest import Shard
from scenerec.data.packed_set import PackedSet
from scenerec.data.pool import Runner, process_runner

DIGEST_BYTES = 16
"""Length of an `image_digest`."""


class SampleContent(NamedTuple):
    """A sample, by what it is called and what it holds."""

    key: str
    """Its name in the shard."""
    label: Label
    """Class index; of a multi-label set all of them."""
    digest: bytes
    """What tells its encoded image from others: see `image_digest`."""
    coordinates: Coordinates | None


class ShardContent(NamedTuple):
    """The samples of one shard, in its order."""

    url: str
    """Where the set is."""
    shard: str
    """Key of the shard."""
    samples: list[SampleContent]


def image_digest(encoded: bytes) -> bytes:
    """The first 16 bytes of the SHA-256 of an encoded image: two million of them fit into 200 MB."""
    return hashlib.sha256(encoded).digest()[:DIGEST_BYTES]


def read_contents(
    shards: Iterable[tuple[PackedSet, Shard]],
    run: Runner | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[ShardContent]:
    """Reads shards, each with the set that it is of, and yields what they hold, in any order.

    `on_progress` is called with the samples done and all. `run` says where they are read: in this process, unless told
    otherwise. Raises DataError for a shard that is not as its manifest says, StorageError.
    """
    tasks = [_only(data, shard) for data, shard in shards]
    done, total = 0, sum(task.manifest.samples for task in tasks)
    on_progress(done, total)
    for content in (run or process_runner(1))(_read, tasks):
        yield content
        done += len(content.samples)
        on_progress(done, total)


def _only(data: PackedSet, shard: Shard) -> PackedSet:
    """The set as if it had only this shard: what a process needs to read it."""
    return replace(data, manifest=data.manifest.model_copy(update={"shards": (shard,)}))


def _read(data: PackedSet) -> ShardContent:
    samples = [SampleContent(each.key, each.label, image_digest(each.image), each.coordinates) for each in data.read(0)]
    return ShardContent(data.url, data.manifest.shards[0].key, samples)
