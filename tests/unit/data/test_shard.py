import hashlib
import io
import tarfile
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.data.coordinates import Coordinates
from scenerec.data.labels import Labels
from scenerec.data.manifest import Shard
from scenerec.data.shard import Sample, cut_groups, parse_shard, read_shard
from scenerec.errors import DataError

JPEG = b"\xff\xd8 not really an image \xff\xd9"
GOOD = [
    ("a.jpg", JPEG),
    ("a.cls", b"0"),
    ("b.png", b"png"),
    ("b.cls", b"2"),
    ("b.json", b"{}"),
    ("c.jpg", b"j"),
    ("c.cls", b"2"),
]


def tar_bytes(members: Iterable[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def entry(content: bytes, labels: Iterable[int] = (0, 2, 2)) -> Shard:
    counts = Counter(labels)
    digest = hashlib.sha256(content).hexdigest()
    return Shard(
        key="000000.tar",
        size_bytes=len(content),
        sha256=digest,
        samples=counts.total(),
        class_counts=dict(counts),
    )


def labels(classes: int) -> Labels:
    return Labels("cls", tuple(f"class{index}" for index in range(classes)))


def failure(content: bytes, shard: Shard, classes: int = 3) -> str:
    with pytest.raises(DataError) as caught:
        read_shard(content, shard, labels(classes), "s3://scenes/train/000000.tar")
    message = str(caught.value)
    assert message.startswith("s3://scenes/train/000000.tar: ")
    assert "scenerec data verify" in message
    assert "\n" not in message
    return message


def test_samples_come_in_the_order_of_the_members() -> None:
    content = tar_bytes(GOOD)
    samples = read_shard(content, entry(content), labels(3), "x")
    assert samples == [Sample("a", JPEG, 0), Sample("b", b"png", 2), Sample("c", b"j", 2)]


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=1500), st.integers(0, 99)), min_size=1, max_size=20))
def test_every_sample_that_goes_in_comes_out(images: list[tuple[bytes, int]]) -> None:
    members = [
        member
        for index, (image, label) in enumerate(images)
        for member in ((f"{index:03d}.jpg", image), (f"{index:03d}.cls", str(label).encode()))
    ]
    content = tar_bytes(members)
    samples = read_shard(content, entry(content, (label for _, label in images)), labels(100), "x")
    assert [(sample.image, sample.label) for sample in samples] == images


def test_a_changed_byte_is_a_checksum_mismatch() -> None:
    content = tar_bytes(GOOD)
    damaged = content[:600] + bytes([content[600] ^ 1]) + content[601:]
    assert "checksum mismatch" in failure(damaged, entry(content))


def test_a_short_shard_names_both_sizes() -> None:
    content = tar_bytes(GOOD)
    assert f"{len(content) - 1} bytes, {len(content)} in the manifest" in failure(content[:-1], entry(content))


@pytest.mark.parametrize("cut", [100, 512 + 10, 1024 + 20])
def test_a_tar_that_was_packed_truncated(cut: int) -> None:
    content = tar_bytes(GOOD)[:cut]
    assert "truncated" in failure(content, entry(content))


def test_a_tar_cut_between_members_is_missed_by_nobody() -> None:
    content = tar_bytes(GOOD)[: 4 * 1024]  # a.jpg, a.cls, b.png, b.cls and no end-of-archive block
    assert "truncated" in failure(content, entry(content))


def test_a_damaged_header_is_missed_by_nobody() -> None:
    content = bytearray(tar_bytes(GOOD))
    content[4 * 1024] ^= 1  # first letter of `b.json`: tarfile reads the archive as ending here
    assert "the tar is damaged: what follows its first 4096 bytes is no member of it" in failure(
        bytes(content), entry(bytes(content))
    )


def test_a_sample_count_that_disagrees() -> None:
    content = tar_bytes(GOOD)
    assert "3 samples, 4 in the manifest" in failure(content, entry(content, (0, 2, 2, 2)))


def test_class_counts_that_disagree() -> None:
    content = tar_bytes(GOOD)
    assert "class counts" in failure(content, entry(content, (0, 1, 2)))


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        (("b.cls", b"7"), "b.cls: label 7 is out of range, there are 3 classes"),
        (("b.cls", b"-1"), "b.cls: label -1 is out of range"),
        (("b.cls", b"beach"), "b.cls: b'beach' is not a class index"),
        (("b.txt", b"1"), "the label (b.cls) is missing"),
    ],
)
def test_bad_labels(member: tuple[str, bytes], expected: str) -> None:
    content = tar_bytes([("a.jpg", JPEG), ("a.cls", b"0"), ("b.jpg", JPEG), member])
    assert expected in failure(content, entry(content, (0, 2)))


def test_a_sample_without_image() -> None:
    content = tar_bytes([("a.jpg", JPEG), ("a.cls", b"0"), ("b.cls", b"1")])
    assert "b: the image is missing" in failure(content, entry(content, (0, 1)))


def test_a_sample_with_two_images() -> None:
    with pytest.raises(ValueError, match="two images"):
        parse_shard(tar_bytes([("a.jpg", JPEG), ("a.png", b"png"), ("a.cls", b"0")]), labels(3))


def mended(content: bytearray) -> bytes:
    """The tar with the checksum of each header made right, so that readers look at what it says."""
    for at in range(0, len(content) - 511, 512):
        if content[at + 257 : at + 262] == b"ustar":
            total = 8 * ord(" ") + sum(content[at : at + 148]) + sum(content[at + 156 : at + 512])
            content[at + 148 : at + 156] = b"%06o\0 " % total
    return bytes(content)


@given(
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    st.lists(st.tuples(st.integers(0, 11), st.one_of(st.integers(124, 160), st.integers(0, 511)), st.integers(0, 255))),
)
def test_no_damage_of_a_header_is_another_error(form: int, changes: list[tuple[int, int, int]]) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name in ("a.jpg", f"{'long' * 40}é.cls"):
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
    content = bytearray(buffer.getvalue())
    for block, at, byte in changes:
        content[512 * block + at] = byte
    with suppress(ValueError):
        assert all(group.key for group in cut_groups(mended(content)))


@given(
    st.lists(st.binary(max_size=1100), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 7), st.integers(100, 511), st.sampled_from(b"\0\x01 0379x"))),
)
def test_no_damage_makes_us_find_other_members_than_tarfile(
    contents: list[bytes], changes: list[tuple[int, int, int]]
) -> None:
    content = bytearray(tar_bytes((f"{index}.jpg", data) for index, data in enumerate(contents)))
    for block, at, byte in changes:
        content[512 * block + at] = byte
    tar = mended(content)
    with suppress(ValueError):
        found = [bytes(data) for group in cut_groups(tar) for data in group.members.values()]
        with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as whole:
            assert found == [file.read() for member in whole if member.isfile() and (file := whole.extractfile(member))]


def test_a_member_of_negative_size_is_no_endless_tar() -> None:
    content = bytearray(tar_bytes(GOOD))
    content[1024 + 124 : 1024 + 136] = (-512).to_bytes(12, "big", signed=True)  # leads back to itself
    with pytest.raises(ValueError, match="the tar is damaged"):
        list(cut_groups(mended(content)))


class TestCoordinates:
    MEMBERS: ClassVar = [
        *[("a.jpg", JPEG), ("a.cls", b"0"), ("a.json", b'{"latitude": 1.5, "longitude": -2, "time": 0.5}')],
        *[("b.jpg", JPEG), ("b.cls", b"2")],
        *[("c.jpg", JPEG), ("c.cls", b"2"), ("c.json", b'{"latitude": 3, "longitude": 4}')],
    ]

    def test_they_are_read_where_the_manifest_knows_of_some(self) -> None:
        content = tar_bytes(self.MEMBERS)
        shard = entry(content).model_copy(update={"coordinates": 2})
        found = [sample.coordinates for sample in read_shard(content, shard, labels(3), "x")]
        assert found == [Coordinates(1.5, -2, 0.5), None, Coordinates(3, 4)]
        assert {sample.coordinates for sample in read_shard(content, entry(content), labels(3), "x")} == {None}

    def test_another_number_of_them_than_in_the_manifest_is_damage(self) -> None:
        content = tar_bytes(self.MEMBERS)
        shard = entry(content).model_copy(update={"coordinates": 3})
        assert "coordinates of 2 samples, 3 in the manifest" in failure(content, shard)

    def test_damaged_ones_are_told_by_sample_and_not_by_value(self) -> None:
        content = tar_bytes([*self.MEMBERS[:-1], ("c.json", b'{"latitude": 123.5, "longitude": 4}')])
        message = failure(content, entry(content).model_copy(update={"coordinates": 2}))
        assert "c.json: has no latitude and longitude" in message and "123" not in message
