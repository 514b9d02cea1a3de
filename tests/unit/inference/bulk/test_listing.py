"""What is answered, in which order, and in which parts."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.errors import ConfigError, DataError, NotFoundError
from scenerec.inference.bulk.listing import (
    ListedImage,
    ListedShard,
    cut_parts,
    decode_part,
    encode_part,
    images_of,
    list_images,
)
from scenerec.storage import IMPATIENT
from tests.colour_set import PER_CLASS, pack_colours


def write_files(folder: Path, *names: str) -> str:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * len(name))
    return str(folder)


def listed(*sources: str) -> list[str]:
    return [each.image for each in list_images(sources, IMPATIENT) if isinstance(each, ListedImage)]


def test_a_folder_is_listed_by_key_without_what_programs_leave(tmp_path: Path) -> None:
    names = ("b/a.jpg", "b.jpg", "a/z.PNG", "a/._z.png", ".hidden/a.jpg", "@eaDir/a.jpg", "notes.txt")
    folder = write_files(tmp_path / "photos", *names)
    assert listed(folder) == [f"{folder}/{name}" for name in ("a/z.PNG", "b.jpg", "b/a.jpg")]


def test_sources_follow_each_other_as_they_were_named(tmp_path: Path) -> None:
    first = write_files(tmp_path / "z", "b.jpg", "a.jpg")
    second = write_files(tmp_path / "a", "c.txt")
    assert listed(first, f"{second}/c.txt") == [f"{first}/a.jpg", f"{first}/b.jpg", f"{second}/c.txt"]


@given(images=st.integers(0, 40), per_part=st.integers(1, 45))
def test_parts_are_the_listing_cut_at_the_same_places(images: int, per_part: int) -> None:
    entries = [ListedImage(f"{index}.jpg", index) for index in range(images)]
    parts = list(cut_parts(entries, per_part))
    assert [images_of(part) for part in parts[:-1]] == [per_part] * (len(parts) - 1)
    assert all(1 <= images_of(part) <= per_part for part in parts[-1:])
    assert [each for part in parts for each in part] == entries


@pytest.mark.parametrize(
    ("images", "parts", "largest"), [(1, 1, 1), (129, 2, 128), (8192, 64, 128), (20_000, 64, 313), (70_000, 69, 1024)]
)
def test_few_images_are_cut_into_smaller_parts(images: int, parts: int, largest: int) -> None:
    cut = list(cut_parts([ListedImage("a.jpg", 1)] * images))
    assert (len(cut), max(map(images_of, cut))) == (parts, largest)


def test_a_shard_of_a_packed_set_is_a_part(tmp_path: Path) -> None:
    packed = pack_colours(tmp_path / "colours")
    photos = write_files(tmp_path / "photos", "a.jpg", "b.jpg", "c.jpg")
    parts = list(cut_parts(list_images([photos, packed], IMPATIENT), 2))
    assert list(map(images_of, parts[:2])) == [2, 1]
    shards = [part for part in parts if isinstance(part, ListedShard)]
    assert len(shards) == len(parts) - 2 > 1
    assert sum(map(images_of, shards)) == 3 * PER_CLASS
    assert [shard.shard for shard in shards] == sorted(path.name for path in Path(packed).glob("*.tar"))


@pytest.mark.parametrize(
    "part",
    [
        (ListedImage("/a/\udcff.jpg", 3), ListedImage("s3://b/ä, \n.png", 0)),
        ListedShard("s3://b/set", "000000.tar", "0" * 64, 7),
    ],
)
def test_a_part_is_read_as_it_was_written(part: tuple[ListedImage, ...] | ListedShard) -> None:
    assert decode_part(encode_part(part), "there") == part


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"no JSON", b'{"image": "a.jpg"}'])
def test_a_damaged_part_is_named(content: bytes) -> None:
    with pytest.raises(DataError, match=r"^there: is damaged: --overwrite begins anew$"):
        decode_part(content, "there")


def test_no_image_is_answered_twice(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "photos", "a.jpg", "b/c.jpg")
    with pytest.raises(ConfigError, match="photos: is named twice"):
        listed(folder, folder)
    with pytest.raises(ConfigError, match=r"b: lies in .*photos, which is named as well"):
        listed(f"{folder}/b", folder)
    with pytest.raises(ConfigError, match=r"s3://photos/a: lies in s3://photos, which"):
        listed("s3://photos", "s3://photos/a")


def test_what_has_no_image_is_named_with_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nowhere: no such file or folder"):
        listed(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"empty: has no JPEG, PNG, WebP, GIF or BMP image in it$"):
        listed(write_files(tmp_path / "empty", "notes.txt"))
    with pytest.raises(DataError, match=r"it holds 0\.tar: name a packed set, or make one \(`scenerec data adopt`\)"):
        listed(write_files(tmp_path / "tars", "0.tar"))
    with pytest.raises(DataError, match=r"it holds train/manifest\.json: name a packed set"):
        listed(write_files(tmp_path / "splits", "train/manifest.json"))
