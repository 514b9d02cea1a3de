"""One shard in memory: a tar, checked against its manifest entry and cut into samples in a single pass."""

import hashlib
import io
import tarfile
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from scenerec.data.manifest import Shard
from scenerec.errors import DataError

IMAGE_SUFFIXES = ("jpg", "png")
END_BYTES = 1024
REMEDY = "`scenerec data verify` lists what is damaged; pack the set again"


class Sample(NamedTuple):
    """An encoded image and its class."""

    key: str
    """The members' common name, before the first dot."""
    image: bytes
    """The JPEG or PNG, as packed."""
    label: int
    """Class index."""


class AlteredShardError(DataError):
    """What was fetched is not what was packed, bit for bit."""


def read_shard(content: bytes, shard: Shard, classes: int, where: str) -> list[Sample]:
    """The samples of a shard, in the order of its members: the position in this list is the sample's index.

    `content` is the whole tar, `where` the address that errors name. Raises AlteredShardError unless size and SHA-256
    are those of the manifest, DataError unless number of samples and class counts are, and each sample has one image
    and one label in [0, classes).
    """
    if len(content) != shard.size_bytes:
        raise AlteredShardError(f"{where}: {len(content)} bytes, {shard.size_bytes} in the manifest: {REMEDY}")
    if hashlib.sha256(content).hexdigest() != shard.sha256:
        raise AlteredShardError(f"{where}: checksum mismatch, the shard is not the one that was packed: {REMEDY}")
    try:
        samples = parse_shard(content)
    except ValueError as error:
        raise DataError(f"{where}: {error}: {REMEDY}") from None
    if len(samples) != shard.samples:
        raise DataError(f"{where}: {len(samples)} samples, {shard.samples} in the manifest: {REMEDY}")
    for sample in samples:
        if not 0 <= sample.label < classes:
            problem = f"label {sample.label} is out of range, there are {classes} classes"
            raise DataError(f"{where}: {sample.key}.cls: {problem}: {REMEDY}")
    if Counter(sample.label for sample in samples) != shard.class_counts:
        raise DataError(f"{where}: class counts differ from the manifest's: {REMEDY}")
    return samples


def parse_shard(content: bytes) -> list[Sample]:
    """Cuts a tar into samples: consecutive members with one name before the first dot (as WebDataset).

    Raises ValueError for a truncated or damaged tar, for a sample without image or label, and for a label
    that is not a number.
    """
    samples: list[Sample] = []
    key, image, label = "", b"", b""
    for name, data in _members(content):
        folder, slash, base = name.rpartition("/")
        stem, _, suffix = base.partition(".")
        if folder + slash + stem != key:
            if key:
                samples.append(_sample(key, image, label))
            key, image, label = folder + slash + stem, b"", b""
        if suffix in IMAGE_SUFFIXES:
            if image:
                raise ValueError(f"{key}: two images in one sample")
            image = data
        elif suffix == "cls":
            label = data
    if key:
        samples.append(_sample(key, image, label))
    return samples


def _sample(key: str, image: bytes, label: bytes) -> Sample:
    if not image:
        raise ValueError(f"{key}: the image is missing")
    if not label:
        raise ValueError(f"{key}: the label ({key}.cls) is missing")
    try:
        return Sample(key, image, int(label))
    except ValueError:
        raise ValueError(f"{key}.cls: {label[:20]!r} is not a class index") from None


def _members(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and content of each plain file of a tar."""
    # tarfile takes a damaged header for the end of the archive: look for the real end, two empty blocks.
    if len(content) < END_BYTES or any(content[-END_BYTES:]):
        raise ValueError("the tar is truncated")
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            for member in tar:
                if member.isfile():
                    yield member.name, content[member.offset_data : member.offset_data + member.size]
    except tarfile.TarError as error:
        raise ValueError(f"the tar is damaged ({error})") from None
