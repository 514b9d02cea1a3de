"""Images are added to packed sets: behind what is there, each once, all or none."""

import json
import pickle
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from scenerec.data.integrity import check_set
from scenerec.data.manifest import read_manifest, write_manifest
from scenerec.data.packed_set import open_set
from scenerec.data.packing.add import Addition, AddRequest, AddResult
from scenerec.data.packing.known_images import Twin
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.packing.pack_plan import PackOptions
from scenerec.errors import CheckpointError, DataError
from scenerec.storage import open_storage
from scenerec.training.run_folder import check_identity, run_identity

CLASSES = ("beach", "city")


def draw(folder: Path, names: Iterable[str], first: int = 0) -> None:
    """Writes a picture of its own for each name, such as beach/a.jpg."""
    for number, name in enumerate(names, start=first):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((40, 30), 20 + number).save(path)


@pytest.fixture
def packed(tmp_path: Path) -> str:
    """A set of twelve images in several shards."""
    draw(tmp_path / "old", [f"{name}/{number}.jpg" for name in CLASSES for number in range(6)])
    options = PackOptions(shard_mb=0.01)
    pack(PackRequest(source=tmp_path / "old", destination=str(tmp_path / "packed"), options=options))
    return str(tmp_path / "packed")


@pytest.fixture
def more(tmp_path: Path) -> Path:
    """Five new images, of one class, and two that the set has."""
    draw(tmp_path / "more", [f"beach/new{number}.jpg" for number in range(5)], first=50)
    (tmp_path / "more/city").mkdir()
    shutil.copy(tmp_path / "old/beach/3.jpg", tmp_path / "more/beach/again.jpg")
    shutil.copy(tmp_path / "old/city/2.jpg", tmp_path / "more/city/again.jpg")
    return tmp_path / "more"


def add(source: Path, destination: str, read: bool = True, **request: Any) -> tuple[AddResult, ...]:
    request.setdefault("options", PackOptions(shard_mb=0.01))
    addition = Addition(AddRequest(source=source, destination=destination, **request))
    if read:
        addition.read_known()
    return addition.pack()


def contents(url: str) -> dict[str, bytes]:
    storage = open_storage(url)
    return {info.key: storage.get(info.key) for info in storage.list()}


def test_new_images_get_shards_behind_the_old_ones(packed: str, more: Path) -> None:
    before, old = contents(packed), open_set(packed).manifest
    [result] = add(more, packed)
    assert (result.added, result.samples, result.problems) == (5, 17, {"duplicate": 2})
    manifest = open_set(packed).manifest
    assert manifest.shards[: len(old.shards)] == old.shards and manifest.classes == old.classes
    new = manifest.shards[len(old.shards) :]
    assert len(new) == result.shards > 1
    assert [int(shard.key[:6]) for shard in new] == [len(old.shards) + number for number in range(len(new))]
    after = contents(packed)
    assert {key: after[key] for key in before if key != "manifest.json"} == {
        key: content for key, content in before.items() if key != "manifest.json"
    }
    assert not check_set(open_storage(packed), manifest).defects
    keys = [sample.key for shard in range(len(manifest.shards)) for sample in open_set(packed).read(shard)]
    assert len(set(keys)) == len(keys) == 17
    told = [json.loads(line) for line in after[result.problems_key].splitlines()]
    assert sorted((each["path"], each["detail"]) for each in told) == [
        ("beach/again.jpg", "is in the set already, as beach"),
        ("city/again.jpg", "is in the set already, as city"),
    ]
    assert set(after) == {shard.key for shard in manifest.shards} | {"manifest.json", result.problems_key}


def test_a_task_does_not_grow_with_the_set(packed: str, more: Path) -> None:
    sent = []

    def run(function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
        for task in tasks:
            sent.append(pickle.dumps(task))
            yield function(pickle.loads(sent[-1]))

    addition = Addition(AddRequest(source=more, destination=packed, options=PackOptions(shard_mb=0.01)))
    addition.read_known()
    [part] = addition.parts.values()
    part.own.update({number.to_bytes(16, "big"): Twin("duplicate", "is known") for number in range(50_000)})
    [result] = addition.pack(run)
    assert (result.added, result.problems) == (5, {"duplicate": 2})
    assert max(map(len, sent)) < 5000
    assert not [key for key in contents(packed) if key.startswith(".pack/")]


def test_what_was_added_is_not_added_again(packed: str, more: Path) -> None:
    add(more, packed)
    before = contents(packed)
    assert [(each.added, each.added_before) for each in add(more, packed)] == [(0, True)]
    draw(more, ["city/newer.jpg"], first=80)
    [result] = add(more, packed)
    assert (result.added, result.problems) == (1, {"duplicate": 7})
    (more / "city/newer.jpg").rename(more / "city/newest.jpg")
    [nothing] = add(more, packed)
    assert (nothing.added, nothing.samples, nothing.added_before) == (0, 18, False)
    assert before.items() - contents(packed).items() == {("manifest.json", before["manifest.json"])}
    assert open_set(packed).manifest.source["additions"] == "2"


def test_a_run_that_began_before_is_not_resumed(packed: str, more: Path, make_config: Callable[..., Any]) -> None:
    def identity() -> dict[str, Any]:
        return run_identity(make_config(), 12, 2, open_set(packed).manifest.fingerprint)

    stored = identity()
    add(more, packed)
    with pytest.raises(CheckpointError, match="made with another training set"):
        check_identity("runs/x", stored, identity())


def test_images_are_shrunk_as_those_of_the_set(tmp_path: Path, packed: str, more: Path) -> None:
    options = PackOptions(short_side=20)
    pack(PackRequest(source=tmp_path / "old", destination=str(tmp_path / "small"), options=options))
    add(more, str(tmp_path / "small"), options=PackOptions())
    data = open_set(str(tmp_path / "small"))
    sizes = set()
    for sample in data.read(len(data.manifest.shards) - 1):
        path = tmp_path / "one.jpg"
        path.write_bytes(sample.image)
        sizes.add(Image.open(path).size)
    assert sizes == {(27, 20)}


def test_duplicates_are_added_where_they_are_wanted(packed: str, more: Path) -> None:
    [result] = add(more, packed, read=False)
    assert (result.added, result.problems) == (7, {})


def test_classes_that_are_new_come_last_and_only_if_asked_for(packed: str, more: Path) -> None:
    draw(more, ["airport/1.jpg", "zoo/1.jpg"], first=70)
    (more / "empty").mkdir()
    before = contents(packed)
    with pytest.raises(DataError, match=r"class `airport` is not in .*packed \(nor are 1 others\).*--new-classes"):
        add(more, packed)
    assert contents(packed) == before
    (more / "places.csv").write_text("class,indoor_outdoor,category\nzoo,outdoor,animals\nbeach,outdoor,\n")
    [result] = add(more, packed, new_classes=True)
    assert (result.added, result.new_classes) == (7, ("airport", "zoo"))
    manifest = open_set(packed).manifest
    assert manifest.classes == (*CLASSES, "airport", "zoo")
    assert manifest.class_counts.tolist() == [11, 6, 1, 1]
    assert manifest.places["zoo"].category == ("animals",)


def test_all_splits_get_the_new_classes(scenes: Path, tmp_path: Path) -> None:
    packed = Path(shutil.copytree(scenes, tmp_path / "packed"))
    draw(tmp_path / "more/train", ["zoo/1.jpg", "beach/1.jpg"])
    results = add(tmp_path / "more", str(packed), splits={"train": "train"}, new_classes=True)
    assert [(each.split, each.added, each.new_classes) for each in results] == [
        ("train", 2, ("zoo",)),
        ("val", 0, ("zoo",)),
    ]
    train, val = (open_set(f"{packed}/{split}").manifest for split in ("train", "val"))
    assert train.classes == val.classes and val.samples == 36


def test_a_split_goes_to_the_set_of_its_name(scenes: Path, tmp_path: Path) -> None:
    packed = Path(shutil.copytree(scenes, tmp_path / "packed"))
    draw(tmp_path / "more", ["train/beach/1.jpg", "val/city/1.jpg", "val/city/2.jpg"])
    with pytest.raises(DataError, match=r"has train and val, and .*packed/train is one set: choose --split"):
        add(tmp_path / "more", f"{packed}/train")
    assert [(each.split, each.added) for each in add(tmp_path / "more", str(packed))] == [("train", 1), ("val", 2)]
    draw(tmp_path / "more", ["test/city/1.jpg"], first=10)
    with pytest.raises(DataError, match=r"has no set test: choose --split \(train, val\)"):
        add(tmp_path / "more", str(packed))


@pytest.mark.parametrize("place", ["packed", "packed/train"])
def test_what_another_split_has_is_added_and_listed(
    scenes: Path, scenes_folder: Path, tmp_path: Path, place: str
) -> None:
    """Also where the destination is named as one set, and as a class of another name."""
    packed = Path(shutil.copytree(scenes, tmp_path / "packed"))
    draw(tmp_path / "more", ["train/beach/new.jpg"])
    leaked = sorted((scenes_folder / "val/city").iterdir())[0]
    shutil.copy(leaked, tmp_path / f"more/train/beach/again{leaked.suffix}")
    [result] = add(tmp_path / "more", f"{tmp_path}/{place}", splits={"train": "train"})
    assert (result.added, result.problems) == (2, {"leaked": 1})
    [line] = open_storage(f"{packed}/train").get(result.problems_key).splitlines()
    told = json.loads(line)
    assert (told["kind"], told["detail"]) == ("leaked", "is in val too, as city")
    assert told["path"].endswith(f"again{leaked.suffix}")


def test_an_addition_that_was_killed_goes_on_behind_another(packed: str, more: Path, tmp_path: Path) -> None:
    """Its shards get other numbers, and those that it had written go."""
    draw(tmp_path / "other", ["city/other.jpg"], first=90)
    with pytest.raises(KilledError):
        Addition(AddRequest(source=more, destination=packed, options=PackOptions(shard_mb=0.01))).pack(kill_after(2))
    add(tmp_path / "other", packed)
    assert [(each.added, each.samples) for each in add(more, packed)] == [(5, 18)]
    manifest = open_set(packed).manifest
    assert {key for key in contents(packed) if key.endswith(".tar")} == {shard.key for shard in manifest.shards}
    assert not [key for key in contents(packed) if key.startswith(".")]


class KilledError(Exception):
    """Instead of a process's end."""


def kill_after(shards: int) -> Callable[..., Iterator[Any]]:
    """Runs tasks until so many shards are written."""

    def run(function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
        for number, task in enumerate(tasks):
            if number == shards:
                raise KilledError
            yield function(task)
        raise KilledError

    return run


@pytest.mark.parametrize("shards", [0, 1, 2])
def test_an_addition_that_was_killed_changes_nothing_and_goes_on(packed: str, more: Path, shards: int) -> None:
    whole = str(Path(packed).with_name("whole"))
    shutil.copytree(packed, whole)
    add(more, whole)
    old = open_set(packed).manifest
    addition = Addition(AddRequest(source=more, destination=packed, options=PackOptions(shard_mb=0.01)))
    addition.read_known()
    with pytest.raises(KilledError):
        addition.pack(kill_after(shards))
    assert open_set(packed).manifest == old
    [result] = add(more, packed)
    assert result.added == 5
    assert contents(packed) == contents(whole)


def test_a_set_that_was_changed_meanwhile_stays_as_the_other_has_left_it(
    packed: str, more: Path, tmp_path: Path
) -> None:
    draw(tmp_path / "other", ["city/other.jpg"], first=90)
    ours = Addition(AddRequest(source=more, destination=packed))
    add(tmp_path / "other", packed)
    theirs = contents(packed)
    with pytest.raises(DataError, match="was changed while images were added to it"):
        ours.pack()
    assert contents(packed) == theirs
    [result] = add(more, packed)
    assert (result.added, result.samples) == (5, 18)


def test_two_that_add_the_same_at_once_add_it_once(packed: str, more: Path) -> None:
    ours = Addition(AddRequest(source=more, destination=packed, options=PackOptions(shard_mb=0.01)))
    ours.read_known()
    add(more, packed)
    theirs = contents(packed)
    assert [(each.added, each.samples) for each in ours.pack()] == [(5, 17)]
    assert contents(packed) == theirs


def test_a_set_that_was_added_to_is_packed_over(packed: str, more: Path, tmp_path: Path) -> None:
    """The pack that made it finds it complete; --overwrite clears what was added as well."""
    add(more, packed)
    request = PackRequest(source=tmp_path / "old", destination=packed, options=PackOptions(shard_mb=0.01))
    assert pack(request).splits[0].complete_before
    pack(request.model_copy(update={"overwrite": True}))
    storage = open_storage(packed)
    assert {info.key for info in storage.list()} == {
        *(shard.key for shard in read_manifest(storage).shards),
        "manifest.json",
    }


def test_a_damaged_set_is_named_before_anything_is_added(packed: str, more: Path) -> None:
    storage = open_storage(packed)
    manifest = read_manifest(storage)
    storage.put(manifest.shards[0].key, b"damaged")
    before = contents(packed)
    with pytest.raises(DataError, match=r"000000\.tar: 7 bytes"):
        add(more, packed)
    assert contents(packed) == before
    write_manifest(storage, manifest)
    with pytest.raises(DataError, match=r"no packed data set here"):
        add(more, str(Path(packed) / "deeper"))
