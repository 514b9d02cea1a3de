"""A packed data set as it is opened for reading: its manifest, and where its shards are."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from scenerec.config.data import CacheConfig
from scenerec.data.byte_count import ByteCount
from scenerec.data.manifest import MANIFEST_KEY, Manifest, read_manifest, shard_storage
from scenerec.data.packed_image import decode, undecodable
from scenerec.data.picture import PictureError
from scenerec.data.shard import AlteredShardError, Sample, read_shard
from scenerec.data.shard_cache import ShardCache
from scenerec.data.splits import SPLITS
from scenerec.storage import IMPATIENT, Patience, Storage, open_storage

_FETCHES_OF_AN_ALTERED_SHARD = 3


@dataclass(frozen=True)
class PackedSet:
    """A packed data set: its manifest and where its shards are. Picklable."""

    storage: Storage
    """Where the shards are."""
    manifest: Manifest
    url: str = ""
    """Address of the set: where its manifest is."""
    cache: ShardCache | None = None
    """Where the workers of a node share what they fetch."""
    fetched: ByteCount = field(default_factory=ByteCount, compare=False, repr=False)
    """Bytes of shards that this process has fetched by this object, rather than found in the cache."""

    @property
    def parts(self) -> Sequence[tuple["PackedSet", float]]:
        """The sets that it is made of, one after another, and their weights: itself alone."""
        return ((self, 1.0),)

    def shard_url(self, shard_index: int) -> str:
        """Address of a shard."""
        return f"{self.storage.url}/{self.manifest.shards[shard_index].key}"

    def read(self, shard_index: int) -> list[Sample]:
        """Fetches a shard, or takes it from the cache, and checks it against the manifest.

        One that arrives cut short or altered is fetched again, twice: a proxy on the way may be to blame. Raises
        DataError, StorageError.
        """
        for _ in range(_FETCHES_OF_AN_ALTERED_SHARD - 1):
            with suppress(AlteredShardError):
                return self._read(shard_index)
        return self._read(shard_index)

    def _read(self, shard_index: int) -> list[Sample]:
        shard, where = self.manifest.shards[shard_index], self.shard_url(shard_index)

        def fetch() -> bytes:
            content = self.storage.get(shard.key)
            self.fetched.add(len(content))
            return content

        def parse(content: bytes) -> list[Sample]:
            return read_shard(content, shard, self.manifest.labelling, where)

        return self.cache.get(shard.sha256, fetch, parse) if self.cache else parse(fetch())


Splits = Mapping[str, PackedSet]
"""The sets of a folder by their splits; a set that was named itself stands under the empty name."""


def open_set(
    url: str, share: float = 1.0, cache: CacheConfig | None = None, patience: Patience = IMPATIENT
) -> PackedSet:
    """The packed set at `url`, or the first `share` of its shards. Raises DataError, StorageError."""
    storage = open_storage(url, patience)
    manifest = read_manifest(storage)
    shards = shard_storage(storage, manifest, patience)
    kept = ShardCache(Path(cache.folder), cache.size_bytes) if cache else None
    return PackedSet(shards, manifest if share == 1 else manifest.head(share), storage.url, kept)


def open_splits(url: str) -> Splits:
    """The packed set at `url`, or those of its splits. Raises DataError where there is neither, StorageError."""
    storage = open_storage(url)
    if storage.size(MANIFEST_KEY) is None:
        found = [split for split in SPLITS if storage.size(f"{split}/{MANIFEST_KEY}") is not None]
        if found:
            return {split: open_set(f"{storage.url}/{split}") for split in found}
    return {"": open_set(url)}


def check_images(data: PackedSet, shard_index: int) -> None:
    """Reads a shard and decodes its images. Raises DataError that names the first that does not decode."""
    for sample in data.read(shard_index):
        name = f"{data.shard_url(shard_index)}: {sample.key}"
        try:
            decode(sample.image)
        except PictureError as error:
            raise undecodable(name, error) from None
