"""Which image goes into which shard: decided before any work, from names and file sizes alone."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np

from scenerec.data.coordinates import Coordinates
from scenerec.data.labels import Label
from scenerec.data.packing.raw_set import RawImage

TAR_BLOCK_BYTES = 512
STEM_LENGTH = 48


@dataclass(frozen=True)
class PackOptions:
    """What the packed bytes depend on, beside the images."""

    shard_mb: float = 48
    """Aim for the size of a shard, in 10^6 bytes."""
    short_side: int | None = None
    """Images are shrunk to this short side, in pixels; None keeps them as they are."""
    quality: int = 90
    """JPEG quality of what is re-encoded."""
    seed: int = 0
    """Seed of the order of the samples."""
    keep_metadata: bool = False
    """Leave EXIF, GPS, comments and the like in what is not re-encoded."""
    coordinates_from_exif: bool = False
    """Take coordinates from EXIF, of images that no list has any of."""

    @property
    def described(self) -> dict[str, object]:
        """The options as a plan's fingerprint holds them, without those that are as they were before there were any."""
        described = asdict(self)
        if not described["coordinates_from_exif"]:
            del described["coordinates_from_exif"]
        return described if described.pop("keep_metadata") else {**described, "metadata": "taken out"}


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """A source file that has its place in a shard."""

    index: int
    """Position in the source's list: the same for every seed."""
    path: str
    label: Label
    size_bytes: int
    coordinates: Coordinates | None
    """Where and when it was taken, as a list says it."""

    @property
    def key(self) -> str:
        """Name of the sample in the shard: unique, ASCII, without dots (WebDataset ends a key at the first)."""
        stem = self.path.rpartition("/")[2].rpartition(".")[0]
        return f"{self.index:08d}-{re.sub('[^A-Za-z0-9_-]', '_', stem)[:STEM_LENGTH]}"


@dataclass(frozen=True)
class PackPlan:
    """The shards of one split."""

    split: str
    layout: str
    classes: tuple[str, ...]
    options: PackOptions
    shards: tuple[tuple[PlannedImage, ...], ...]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all of it: the same plan, the same shards."""
        described = [1, self.split, self.layout, list(self.classes), self.options.described]
        digest = hashlib.sha256(json.dumps(described).encode())
        for shard in self.shards:
            for image in shard:
                digest.update(repr((image.index, image.path, image.label, image.size_bytes)).encode())
                digest.update(repr(image.coordinates or (None, None)).encode())
            digest.update(b"end of shard")
        return digest.hexdigest()

    @property
    def with_metadata(self) -> "PackPlan":
        """The plan of the same images and options, but that metadata is kept."""
        return replace(self, options=replace(self.options, keep_metadata=True))

    @property
    def is_multilabel(self) -> bool:
        """Whether an image has any number of labels, rather than one."""
        return any(isinstance(shard[0].label, tuple) for shard in self.shards[:1])

    @property
    def images(self) -> int:
        """Images of all shards."""
        return sum(map(len, self.shards))


def plan_split(
    split: str,
    layout: str,
    classes: Sequence[str],
    images: Sequence[tuple[RawImage, int]],
    options: PackOptions,
    encoded_share: float = 1.0,
) -> PackPlan:
    """Shuffles a split's images, given with their sizes in bytes, by the seed; cuts them into even shards.

    `encoded_share`: expected size of a packed image over that of its file, where images are shrunk.
    """
    labels = {name: label for label, name in enumerate(classes)}
    planned = [
        PlannedImage(index, image.path, _label(image, labels), size_bytes, image.coordinates)
        for index, (image, size_bytes) in enumerate(images)
    ]
    planned.sort(key=lambda image: _shuffle_key(options.seed, image))
    sizes = [_tar_bytes(image, encoded_share) for image in planned]
    shards = tuple(tuple(planned[start:end]) for start, end in cut(sizes, options.shard_mb * 1e6))
    return PackPlan(split, layout, tuple(classes), options, shards)


def cut(sizes_bytes: Sequence[int], target_bytes: float) -> list[tuple[int, int]]:
    """[start, end) of consecutive shards of nearly equal size, the fewest with a mean of at most the target.

    Each item is in exactly one shard, no shard is empty, and none exceeds the target by more than one item.
    """
    if not sizes_bytes:
        return []
    sizes = np.asarray(sizes_bytes, dtype=np.int64)
    total = int(sizes.sum())
    shards = max(1, int(-(-total // target_bytes)))
    # An item belongs to the shard in which it begins.
    owners = (np.cumsum(sizes) - sizes) * shards // max(total, 1)
    starts = np.flatnonzero(np.diff(owners, prepend=-1)).tolist()
    return list(zip(starts, [*starts[1:], len(sizes)], strict=True))


def _label(image: RawImage, classes: Mapping[str, int]) -> Label:
    if image.labels is None:
        return classes[image.class_name]
    return tuple(sorted(classes[name] for name in image.labels))


def _shuffle_key(seed: int, image: PlannedImage) -> bytes:
    # A hash rather than a generator: its order depends on no library's version, and not on the other images.
    named = f"{seed} {image.index} {image.path}".encode(errors="surrogateescape")
    return hashlib.blake2b(named, digest_size=16).digest()


def _tar_bytes(image: PlannedImage, encoded_share: float) -> int:
    """Estimated bytes of a sample's members: a header block each, content padded to whole blocks."""
    members = 2 if image.coordinates is None else 3
    blocks = -(-int(image.size_bytes * encoded_share) // TAR_BLOCK_BYTES)
    return TAR_BLOCK_BYTES * (2 * members - 1 + blocks)
