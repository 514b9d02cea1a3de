"""A packed data set as it is opened for reading: its manifest, and where its shards are."""

from collections.abc import Mapping
from dataclasses import dataclass

from scenerec.data.manifest import MANIFEST_KEY, Manifest, read_manifest, shard_storage
from scenerec.data.packed_image import decode, undecodable
from scenerec.data.picture import PictureError
from scenerec.data.shard import Sample, read_shard
from scenerec.data.splits import SPLITS
from scenerec.storage import Storage, open_storage


@dataclass(frozen=True)
class PackedSet:
    """A packed data set: its manifest and where its shards are. Picklable."""

    storage: Storage
    """Where the shards are."""
    manifest: Manifest
    url: str = ""
    """Address of the set: where its manifest is."""

    def read(self, shard_index: int) -> list[Sample]:
        """Fetches a shard and checks it against the manifest. Raises DataError, StorageError."""
        shard = self.manifest.shards[shard_index]
        where = f"{self.storage.url}/{shard.key}"
        return read_shard(self.storage.get(shard.key), shard, self.manifest.labelling, where)


Splits = Mapping[str, PackedSet]
"""The sets of a folder by their splits; a set that was named itself stands under the empty name."""


def open_set(url: str, share: float = 1.0) -> PackedSet:
    """The packed set at `url`, or the first `share` of its shards. Raises DataError, StorageError."""
    storage = open_storage(url)
    manifest = read_manifest(storage)
    shards = shard_storage(storage, manifest)
    return PackedSet(shards, manifest if share == 1 else manifest.head(share), storage.url)


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
        name = f"{data.storage.url}/{data.manifest.shards[shard_index].key}: {sample.key}"
        try:
            decode(sample.image)
        except PictureError as error:
            raise undecodable(name, error) from None
