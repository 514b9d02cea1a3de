"""A packed data set as it is opened for reading: its manifest, and where its shards are."""

from contextlib import suppress
from dataclasses import dataclass, field

from scenerec.data.byte_count import ByteCount
from scenerec.data.manifest import Manifest, read_manifest, shard_storage
from scenerec.data.packed_image import decode, undecodable
from scenerec.data.picture import PictureError
from scenerec.data.shard import AlteredShardError, Sample, read_shard
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
    fetched: ByteCount = field(default_factory=ByteCount, compare=False, repr=False)
    """Bytes of shards that this process has fetched by this object."""

    def read(self, shard_index: int) -> list[Sample]:
        """Fetches a shard and checks it against the manifest. Raises DataError, StorageError.

        One that arrives cut short or altered is fetched again, twice: a proxy or a cache on the way may be to blame.
        """
        for _ in range(_FETCHES_OF_AN_ALTERED_SHARD - 1):
            with suppress(AlteredShardError):
                return self._fetch(shard_index)
        return self._fetch(shard_index)

    def _fetch(self, shard_index: int) -> list[Sample]:
        shard = self.manifest.shards[shard_index]
        content = self.storage.get(shard.key)
        self.fetched.add(len(content))
        return read_shard(content, shard, self.manifest.labelling, f"{self.storage.url}/{shard.key}")


def open_set(url: str, share: float = 1.0, patience: Patience = IMPATIENT) -> PackedSet:
    """The packed set at `url`, or the first `share` of its shards. Raises DataError, StorageError."""
    storage = open_storage(url, patience)
    manifest = read_manifest(storage)
    shards = shard_storage(storage, manifest, patience)
    return PackedSet(shards, manifest if share == 1 else manifest.head(share), storage.url)


def check_images(data: PackedSet, shard_index: int) -> None:
    """Reads a shard and decodes its images. Raises DataError that names the first that does not decode."""
    for sample in data.read(shard_index):
        name = f"{data.storage.url}/{data.manifest.shards[shard_index].key}: {sample.key}"
        try:
            decode(sample.image)
        except PictureError as error:
            raise undecodable(name, error) from None
