"""What two packed sets differ in: seen by the manifests, and by reading only the shards that are not in both."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.data.diff import SamplePlace, SetDiff, diff_places, diff_sets
from scenerec.data.manifest import read_manifest
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.packing.pack_plan import PackOptions
from scenerec.errors import DataError
from scenerec.storage import open_storage

Pack = Callable[..., str]


@pytest.fixture
def source(scenes_folder: Path, tmp_path: Path) -> Path:
    """A copy of the scenes, to be changed."""
    return Path(shutil.copytree(scenes_folder, tmp_path / "source"))


@pytest.fixture
def packed(source: Path, tmp_path: Path) -> Pack:
    """Packs the source as it is now."""

    def run(name: str, seed: int = 0, classes: tuple[str, ...] = (), short_side: int | None = None) -> str:
        packing = PackOptions(shard_mb=0.03, seed=seed, short_side=short_side)
        pack(PackRequest(source=source, destination=str(tmp_path / name), options=packing, classes=classes))
        return str(tmp_path / name)

    return run


def changes(found: SetDiff) -> list[tuple[str, str, str]]:
    """The kind of each change, and split and class before and after."""
    assert found.samples is not None
    shown = [
        (change.kind, *("/".join(place[:2]) if place else "" for place in (change.before, change.after)))
        for change in found.samples
    ]
    return sorted(shown)


def test_a_set_and_its_copy_are_the_same(scenes: Path, tmp_path: Path) -> None:
    shutil.copytree(scenes / "train", tmp_path / "copy")
    for shard in (tmp_path / "copy").glob("*.tar"):
        shard.unlink()  # nobody looks at them
    found = diff_sets(f"{scenes}/train", str(tmp_path / "copy"))
    assert found.same and found.samples == () and found.splits[""].same
    assert diff_sets(str(scenes), str(scenes)).same


def test_what_became_of_each_image_is_told(packed: Pack, source: Path) -> None:
    before = packed("before")
    (source / "train/beach/00000.jpg").rename(source / "train/city/moved.jpg")
    (source / "train/beach/00001.jpg").rename(source / "val/beach/00100.jpg")
    (source / "train/city/00003.jpg").unlink()
    shutil.copy(source / "val/city/00002.jpg", source / "val/city/00003.jpg")  # another picture than before
    drawn = (source / "val/city/00000.jpg").read_bytes()
    (source / "train/city/new.jpg").write_bytes(drawn + b"\0")
    found = diff_sets(before, packed("after"))
    assert not found.same
    assert Counter(kind for kind, _, _ in changes(found) if kind != "renamed") == {"moved": 2, "removed": 2, "added": 1}
    told = [change for change in changes(found) if change[0] != "renamed"]
    assert told == [
        ("added", "", "train/city"),
        ("moved", "train/beach", "train/city"),
        ("moved", "train/beach", "val/beach"),
        ("removed", "train/city", ""),
        ("removed", "val/city", ""),  # its file is now a duplicate, which is not packed
    ]
    train = found.splits["train"]
    assert train.class_counts == {"beach": (25, 23), "city": (25, 26)}
    assert train.samples == (100, 99)


def test_an_image_that_was_replaced_has_changed(packed: Pack, source: Path) -> None:
    before = packed("before")
    picture = source / "train/forest/00007.jpg"
    picture.write_bytes((source / "val/forest/00000.jpg").read_bytes())
    (source / "val/forest/00000.jpg").unlink()
    found = diff_sets(f"{before}/train", f"{packed('after')}/train")
    assert changes(found) == [("changed", "/forest", "/forest")]
    assert found.splits[""].unread_shards > 0


def test_shards_in_both_sets_are_not_read(packed: Pack, source: Path) -> None:
    before = packed("before")
    shutil.copytree(before, source.parent / "after")
    storage = open_storage(f"{before}/train")
    manifest = read_manifest(storage)
    shorter = manifest.model_copy(update={"shards": manifest.shards[1:]})
    open_storage(f"{source.parent}/after/train").put("manifest.json", shorter.model_dump_json().encode())
    for shard in manifest.shards[1:]:
        storage.delete(shard.key)
    found = diff_sets(before, f"{source.parent}/after")
    assert [kind for kind, _, _ in changes(found)] == ["removed"] * manifest.shards[0].samples
    assert found.splits["val"].same


def test_the_same_images_in_another_order_are_told_from_the_same_set(packed: Pack) -> None:
    found = diff_sets(packed("before"), packed("after", seed=1))
    assert not found.same and found.samples == ()
    assert found.splits["val"].options == {"seed": ("0", "1")}


def test_classes_are_compared_by_their_names(packed: Pack, source: Path) -> None:
    before = packed("before")
    names = read_manifest(open_storage(f"{before}/train")).classes
    found = diff_sets(before, packed("after", classes=names[::-1]))
    assert found.splits["train"].classes_reordered and found.samples == ()
    assert not found.splits["train"].class_counts
    (source / "places.csv").unlink()
    for split in ("train", "val"):
        (source / split / names[0]).rename(source / split / "zoo")
    renamed = diff_sets(before, packed("renamed")).splits["train"]
    assert (renamed.classes_added, renamed.classes_removed) == (("zoo",), (names[0],))
    assert not renamed.classes_reordered


def test_manifests_alone_are_compared_where_images_are_not_wanted(packed: Pack) -> None:
    before, after = packed("before"), packed("after", short_side=40)
    for shard in Path(before).rglob("*.tar"):
        shard.unlink()
    found = diff_sets(before, after, samples=False)
    assert not found.same and found.samples is None
    assert found.splits["train"].options == {"short_side": ("unchanged", "40")}


def test_a_set_is_not_compared_with_a_folder_of_splits(scenes: Path) -> None:
    with pytest.raises(DataError, match=r"packed: is packed by split, and the other is not: name the set of one split"):
        diff_sets(f"{scenes}/train", str(scenes))


PLACES = st.builds(SamplePlace, st.sampled_from("tv"), st.sampled_from("ab"), st.just("0.tar"), st.sampled_from("xyz"))
SIDES = st.dictionaries(st.sampled_from([b"1", b"2", b"3"]), st.lists(PLACES, min_size=1, max_size=4))


@given(before=SIDES, after=SIDES)
def test_the_changes_lead_from_one_set_to_the_other(
    before: dict[bytes, list[SamplePlace]], after: dict[bytes, list[SamplePlace]]
) -> None:
    found = list(diff_places(before, after))
    old, new = (Counter(place for places in side.values() for place in places) for side in (before, after))
    gone = Counter(change.before for change in found if change.before)
    come = Counter(change.after for change in found if change.after)
    assert gone <= old and come <= new
    assert old - gone == new - come
    assert list(diff_places(before, before)) == []
    kept = sum(min(len(before.get(digest, ())), len(after.get(digest, ()))) for digest in before)
    assert sum(change.kind in ("removed", "changed") for change in found) == old.total() - kept


def test_other_coordinates_are_told_without_saying_them(source: Path, tmp_path: Path) -> None:
    def pack_with(name: str, rows: str) -> str:
        table = tmp_path / f"{name}.csv"
        table.write_text(f"file,latitude,longitude\n{rows}")
        pack(PackRequest(source=source, destination=str(tmp_path / name), split="val", coordinates=table))
        return str(tmp_path / name)

    first = pack_with("first", "val/beach/00000.jpg,12.25,33.5\nval/city/00000.jpg,1,2\n")
    second = pack_with("second", "val/beach/00000.jpg,12.25,34.5\nval/city/00000.jpg,1,2\nval/city/00001.jpg,3,4\n")
    found = diff_sets(first, second)
    assert changes(found) == [("relocated", "/beach", "/beach"), ("relocated", "/city", "/city")]
    assert found.splits[""].coordinates == (2, 3) and not found.same
    assert "34.5" not in repr(found)
