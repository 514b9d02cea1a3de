"""One shard in memory: a tar, checked against its manifest entry and cut into samples in a single pass."""

import hashlib
import io
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np

from scenerec.data.coordinates import COORDINATES_SUFFIX, Coordinates, decode_coordinates
from scenerec.data.labels import Label, Labels, indices_of
from scenerec.data.manifest import Shard
from scenerec.data.picture import SUFFIXES
from scenerec.errors import DataError, first_line

IMAGE_SUFFIXES = tuple(suffix.removeprefix(".") for suffix in SUFFIXES)
END_BYTES = 1024
MOST_INFLATED = 20
"""Bytes that a byte of a tar.gz may become: pictures hardly shrink, so more is no set of pictures."""
REMEDY = "`scenerec data verify` lists what is damaged; pack or adopt the set again"

_BLOCK_BYTES, _NAME_BYTES = 512, 100
# Behind the name: mode, owner, group, size, time, checksum; of a plain file; POSIX, without a prefix.
_USUAL_HEADER = re.compile(
    rb"(?:[0-7]{7}\0){3}(?P<size>[0-7]{11})\0[0-7]{11}\0(?P<checksum>[0-7]{6})\0 0"
    rb".{100}ustar\x0000.{64}(?:[0-7]{7}\0|\0{8}){2}\0",
    re.DOTALL,
)
_GZIP = b"\x1f\x8b"
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


class Sample(NamedTuple):
    """An encoded image, its class, and perhaps its coordinates."""

    key: str
    """The members' common name, before the first dot."""
    image: bytes
    """The encoded image, as it lies in the shard."""
    label: Label
    """Class index; of a multi-label set all of them."""
    coordinates: Coordinates | None = None
    """Where and when it was taken; None where that is not known, and in sets that have no coordinates."""


class AlteredShardError(DataError):
    """What was fetched is not what was packed, bit for bit."""


class Group(NamedTuple):
    """Consecutive members of a tar with one name before the first dot: what WebDataset calls a sample."""

    key: str
    """That name, with its folder."""
    members: dict[str, memoryview]
    """Contents by what stands behind the first dot, in lower case."""
    doubled: tuple[str, ...]
    """Suffixes that stand twice."""

    def image(self) -> bytes:
        """The encoded image. Raises ValueError unless there is exactly one."""
        found = [suffix for suffix in self.members if suffix in IMAGE_SUFFIXES]
        if len(found) > 1 or set(found) & set(self.doubled):
            raise ValueError(f"{self.key}: two images in one sample")
        if not found or not self.members[found[0]]:
            raise ValueError(f"{self.key}: the image is missing (it has {', '.join(self.members)})")
        return bytes(self.members[found[0]])

    def label(self, labels: Labels) -> int | str | tuple[int | str, ...]:
        """The class index or class name that the label says, or all. Raises ValueError where there is none, or two."""
        name = f"{self.key}.{labels.suffix}"
        if labels.suffix in self.doubled:
            raise ValueError(f"{self.key}: two labels ({name}) in one sample")
        content = self.members.get(labels.suffix)
        if not content:
            raise ValueError(f"{self.key}: the label ({name}) is missing")
        try:
            return labels.value(bytes(content))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None

    def coordinates(self) -> Coordinates | None:
        """The sample's coordinates, where it has some. Raises ValueError where they are none."""
        content = self.members.get(COORDINATES_SUFFIX)
        if content is None:
            return None
        try:
            return decode_coordinates(bytes(content))
        except ValueError as error:
            raise ValueError(f"{self.key}.{COORDINATES_SUFFIX}: {error}") from None


def read_shard(content: bytes, shard: Shard, labels: Labels, where: str) -> list[Sample]:
    """The samples of a shard, in the order of its members: the position in this list is the sample's index.

    `content` is the whole object, `where` the address that errors name. Raises AlteredShardError unless size and
    SHA-256 are those of the manifest, DataError unless number of samples, class counts and number of coordinates are,
    and each sample has one image and one label of the set's classes.
    """
    if len(content) != shard.size_bytes:
        raise AlteredShardError(f"{where}: {len(content)} bytes, {shard.size_bytes} in the manifest: {REMEDY}")
    if hashlib.sha256(content).hexdigest() != shard.sha256:
        raise AlteredShardError(f"{where}: checksum mismatch, the shard is not the one that was packed: {REMEDY}")
    try:
        samples = parse_shard(content, labels, shard.left_out, located=shard.coordinates > 0)
    except ValueError as error:
        raise DataError(f"{where}: {error}: {REMEDY}") from None
    if len(samples) != shard.samples:
        raise DataError(f"{where}: {len(samples)} samples, {shard.samples} in the manifest: {REMEDY}")
    if Counter(index for sample in samples for index in indices_of(sample.label)) != shard.class_counts:
        raise DataError(f"{where}: class counts differ from the manifest's: {REMEDY}")
    if shard.coordinates and (found := sum(sample.coordinates is not None for sample in samples)) != shard.coordinates:
        raise DataError(f"{where}: coordinates of {found} samples, {shard.coordinates} in the manifest: {REMEDY}")
    return samples


def parse_shard(content: bytes, labels: Labels, left_out: Collection[int] = (), located: bool = False) -> list[Sample]:
    """Cuts a tar or tar.gz into samples, without those at the positions `left_out`; `located`: with coordinates.

    Raises ValueError for a truncated or damaged tar, for a sample without one image and one label, for a label that is
    none of the set's classes, and for coordinates that are none.
    """
    without = frozenset(left_out)
    return [_sample(group, labels, located) for at, group in enumerate(cut_groups(content)) if at not in without]


def _sample(group: Group, labels: Labels, located: bool) -> Sample:
    image, value = group.image(), group.label(labels)
    at = group.coordinates() if located else None
    try:
        return Sample(group.key, image, labels.index(value), at)
    except ValueError as error:
        raise ValueError(f"{group.key}.{labels.suffix}: {error}") from None


def cut_groups(content: bytes) -> Iterator[Group]:
    """The groups of a tar or tar.gz in its order. Members that are hidden, or have no suffix, belong to none.

    Raises ValueError for one that is truncated or damaged, at the latest behind its last group.
    """
    key = ""
    members: dict[str, memoryview] = {}
    doubled: list[str] = []
    for name, data in _members(content):
        folder, slash, base = name.rpartition("/")
        stem, dot, suffix = base.partition(".")
        if not stem or not dot:
            continue
        if folder + slash + stem != key:
            if key:
                yield Group(key, members, tuple(doubled))
            key, members, doubled = folder + slash + stem, {}, []
        suffix = suffix.lower()
        if suffix in members:
            doubled.append(suffix)
        members[suffix] = data
    if key:
        yield Group(key, members, tuple(doubled))


def _members(content: bytes) -> Iterator[tuple[str, memoryview]]:
    """Name and content of each plain file of a tar."""
    content = _inflated(content) if content.startswith(_GZIP) else content
    # tarfile takes a damaged header for the end of the archive: look for the real end, two empty blocks.
    if len(content) < END_BYTES or any(content[-END_BYTES:]):
        raise ValueError("the tar is truncated")
    if usual := _usual_members(content):
        yield from usual
        return
    view, end = memoryview(content), 0
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            for member in tar:
                if tar.offset <= end:
                    raise ValueError("a member has less than no bytes")
                end = tar.offset
                if member.issparse():
                    raise ValueError(f"{member.name} is stored as a sparse file")
                if member.isfile():
                    yield member.name, view[member.offset_data : member.offset_data + member.size]
    except Exception as error:  # of damaged headers, tarfile raises nearly anything
        raise ValueError(f"the tar is damaged ({first_line(error)})") from None
    if content[end:].strip(b"\0"):
        raise ValueError(f"the tar is damaged: what follows its first {end} bytes is no member of it")


def _usual_members(content: bytes) -> list[tuple[str, memoryview]]:
    """Those of a tar of plain files with short names alone, as packing writes it, in a fifth of tarfile's time.

    Empty where anything else is in it, or anything is wrong with it: that is for tarfile to say.
    """
    view, members, starts, checksums, at = memoryview(content), [], [], [], 0
    while found := _USUAL_HEADER.match(content, at + _NAME_BYTES):
        name = content[at : at + _NAME_BYTES].partition(b"\0")[0].decode("utf-8", "surrogateescape")
        begin, size = at + _BLOCK_BYTES, int(found["size"], 8)
        members.append((name, view[begin : begin + size]))
        starts.append(at // _BLOCK_BYTES)
        checksums.append(int(found["checksum"], 8))
        at = begin + -(-size // _BLOCK_BYTES) * _BLOCK_BYTES
    if len(content) - at < END_BYTES or len(content) % _BLOCK_BYTES or content[at:].strip(b"\0"):
        return []
    headers = np.frombuffer(content, np.uint8).reshape(-1, _BLOCK_BYTES)[np.array(starts, np.int64)]
    headers[:, 148:156] = ord(" ")  # in place of the checksum
    return members if headers.sum(axis=1, dtype=np.int64).tolist() == checksums else []


def _inflated(content: bytes) -> bytes:
    """The tar in a tar.gz, however many gzip members it has. Raises ValueError."""
    parts = []
    left_bytes = MOST_INFLATED * len(content) + (1 << 20)
    while content:
        inflater = zlib.decompressobj(_GZIP_WINDOW)
        try:
            parts.append(inflater.decompress(content, left_bytes))
        except zlib.error as error:
            raise ValueError(f"the tar.gz is damaged ({error})") from None
        left_bytes -= len(parts[-1])
        if left_bytes <= 0:
            raise ValueError(f"the tar.gz inflates to more than {MOST_INFLATED} times its size: store it as a tar")
        if not inflater.eof:
            raise ValueError("the tar.gz is truncated")
        content = inflater.unused_data.lstrip(b"\0")
    return b"".join(parts)
