import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import webdataset
from PIL import Image

from scenerec.data.coordinates import Coordinates
from scenerec.data.manifest import Manifest, Place, read_manifest
from scenerec.data.packing.pack import PackOptions, PackRequest, PackResult, pack
from scenerec.data.pool import process_runner
from scenerec.data.shard import Sample, read_shard
from scenerec.errors import DataError
from scenerec.storage import LocalStorage
from tests.patience import PATIENCE_S

Encode = Callable[..., bytes]
WriteTree = Callable[[Mapping[str, bytes | str]], Path]


@pytest.fixture
def photos(encode: Encode, write_tree: WriteTree) -> Path:
    """Two splits of two classes, 30 images, a few of them PNGs."""
    files = {}
    for index in range(30):
        form = "PNG" if index % 5 == 0 else "JPEG"
        name = f"{'val' if index % 3 == 0 else 'train'}/{'sea' if index % 2 else 'city'}/img.{index:02d}.{form.lower()}"
        files[name] = encode(index, form=form)
    return write_tree(files)


def request(
    source: Path, destination: Path, overwrite: bool = False, split: str = "all", **options: Any
) -> PackRequest:
    return PackRequest(
        source=source,
        destination=str(destination),
        split=split,
        overwrite=overwrite,
        options=PackOptions(**{"shard_mb": 0.01} | options),
    )


def opened(folder: Path) -> tuple[Manifest, list[Sample]]:
    manifest = read_manifest(LocalStorage(folder))
    samples = [
        sample
        for shard in manifest.shards
        for sample in read_shard((folder / shard.key).read_bytes(), shard, manifest.labelling, shard.key)
    ]
    return manifest, samples


def contents(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def problems(folder: Path) -> list[tuple[str, str]]:
    lines = (folder / "problems.jsonl").read_text().splitlines()
    return sorted((problem["kind"], problem["path"]) for problem in map(json.loads, lines))


def failure(wanted: PackRequest) -> str:
    with pytest.raises(DataError) as caught:
        pack(wanted)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_each_image_is_packed_once_byte_for_byte_under_its_class(photos: Path, tmp_path: Path) -> None:
    result = pack(request(photos, tmp_path / "packed"))
    for split, found in zip(("train", "val"), result.splits, strict=True):
        manifest, samples = opened(tmp_path / "packed" / split)
        sources = [(path.read_bytes(), path.parent.name) for path in photos.glob(f"{split}/*/*")]
        assert sorted((sample.image, manifest.classes[sample.label]) for sample in samples) == sorted(sources)
        assert (found.split, found.samples, found.shards) == (split, len(sources), len(manifest.shards))
        assert (found.problems, found.converted, found.complete_before) == ({}, 0, False)
        assert found.shards > 1
        assert names(tmp_path / "packed" / split) == {"manifest.json", *(shard.key for shard in manifest.shards)}


def test_plain_webdataset_reads_the_shards(photos: Path, tmp_path: Path) -> None:
    pack(request(photos, tmp_path / "packed"))
    manifest, samples = opened(tmp_path / "packed" / "train")
    urls = [str(tmp_path / "packed" / "train" / shard.key) for shard in manifest.shards]
    dataset = webdataset.WebDataset(urls, shardshuffle=False).decode("pil").to_tuple("jpg;png", "cls")
    read = list(dataset)
    assert [label for _, label in read] == [sample.label for sample in samples]
    assert [image.tobytes() for image, _ in read] == [
        Image.open(io.BytesIO(sample.image)).convert("RGB").tobytes() for sample in samples
    ]


def test_the_same_images_and_options_give_the_same_bytes(photos: Path, tmp_path: Path) -> None:
    pack(request(photos, tmp_path / "one", short_side=16))
    moved = photos.rename(tmp_path / "elsewhere")
    pack(request(moved, tmp_path / "two", short_side=16), process_runner(2))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_another_seed_gives_another_order_of_the_same_samples(photos: Path, tmp_path: Path) -> None:
    pack(request(photos, tmp_path / "one", split="train"))
    pack(request(photos, tmp_path / "two", split="train", seed=1))
    one, two = opened(tmp_path / "one")[1], opened(tmp_path / "two")[1]
    assert one != two
    assert sorted(one) == sorted(two)


def test_one_split_goes_to_the_destination_itself_with_the_classes_of_all(photos: Path, tmp_path: Path) -> None:
    for path in photos.glob("val/city/*"):
        path.unlink()
    (photos / "val" / "city").rmdir()
    pack(request(photos, tmp_path / "packed", split="train"))
    assert opened(tmp_path / "packed")[0].classes == ("city", "sea")


def test_keys_that_webdataset_would_confuse(encode: Encode, write_tree: WriteTree, tmp_path: Path) -> None:
    paths = [
        "sea/img.001.jpg",
        "sea/img.002.jpg",
        "sea/img_001.jpg",
        "sea/img.001.png",
        "sea/Ünï cödé.jpg",
        "city/img.001.jpg",
    ]
    source = write_tree(
        {name: encode(seed, form="PNG" if ".png" in name else "JPEG") for seed, name in enumerate(paths)}
    )
    pack(request(source, tmp_path / "packed", shard_mb=48))
    dataset = webdataset.WebDataset(str(tmp_path / "packed" / "000000.tar"), shardshuffle=False)
    assert sum(1 for _ in dataset) == len(paths)


class TestMetadata:
    @pytest.fixture
    def located(self, encode: Encode, write_tree: WriteTree) -> Path:
        """Three photographs, of which one says where it was taken."""
        exif = Image.Exif()
        exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
        return write_tree(
            {"sea/1.jpg": encode(1, exif=exif), "sea/2.jpg": encode(2), "city/3.png": encode(3, form="PNG")}
        )

    def test_it_goes_into_no_shard_and_is_counted(self, located: Path, tmp_path: Path) -> None:
        (result,) = pack(request(located, tmp_path / "packed")).splits
        manifest, samples = opened(tmp_path / "packed")
        assert (result.stripped, result.converted, manifest.source["stripped"]) == (1, 0, "1")
        assert not any(dict(Image.open(io.BytesIO(sample.image)).getexif()) for sample in samples)
        assert pack(request(located, tmp_path / "packed")).splits[0].stripped == 1

    def test_it_stays_where_that_is_asked_for(self, located: Path, tmp_path: Path) -> None:
        (result,) = pack(request(located, tmp_path / "packed", keep_metadata=True)).splits
        assert result.stripped == 0
        images = {sample.image for sample in opened(tmp_path / "packed")[1]}
        assert images == {path.read_bytes() for path in located.glob("*/*")}

    def test_a_set_that_was_packed_with_it_is_recognised(self, located: Path, tmp_path: Path) -> None:
        pack(request(located, tmp_path / "packed", keep_metadata=True))
        message = failure(request(located, tmp_path / "packed"))
        assert (
            "holds this data set with its pictures' metadata (EXIF, GPS), which --keep-metadata would leave" in message
        )
        pack(request(located, tmp_path / "packed", overwrite=True))
        pack(request(located, tmp_path / "anew"))
        assert contents(tmp_path / "packed") == contents(tmp_path / "anew")


def test_coordinates_are_kept_where_they_are_known(encode: Encode, write_tree: WriteTree, tmp_path: Path) -> None:
    table = (
        "path,label,latitude,longitude,time\na.jpg,sea,-33.85,151.2,\nb.jpg,city,,,\nc.jpg,city,1,2,2023-07-02T12:00\n"
    )
    source = write_tree({"set.csv": table, "a.jpg": encode(1), "b.jpg": encode(2), "c.jpg": encode(3)})
    (result,) = pack(request(source / "set.csv", tmp_path / "packed", shard_mb=48)).splits
    written = {
        "a": {"latitude": -33.85, "longitude": 151.2},
        "b": None,
        "c": {"latitude": 1.0, "longitude": 2.0, "time": 0.5},
    }
    read = webdataset.WebDataset(str(tmp_path / "packed" / "000000.tar"), shardshuffle=False)
    assert {each["__key__"][9:]: json.loads(each["json"]) if "json" in each else None for each in read} == written
    manifest, samples = opened(tmp_path / "packed")
    assert (result.coordinates, manifest.coordinates) == (2, 2)
    found = {sample.key[9:]: sample.coordinates for sample in samples}
    assert found == {"a": Coordinates(-33.85, 151.2), "b": None, "c": Coordinates(1, 2, 0.5)}


def test_bad_files_are_counted_and_listed_and_the_others_packed(
    encode: Encode, write_tree: WriteTree, tmp_path: Path
) -> None:
    good = [encode(seed, size=(60, 40)) for seed in range(6)]
    source = write_tree(
        {
            "train/sea/0.jpg": good[0],
            "train/sea/1.jpg": good[1],
            "train/city/2.jpg": good[2],
            "train/city/again.jpg": good[1],
            "train/sea/cut.jpg": encode(7, size=(90, 90))[:-300],
            "train/sea/page.jpg": "<html>not found</html>",
            "train/city/scan.tif": encode(8, form="TIFF"),
            "train/city/wide.jp2": encode(10, form="JPEG2000"),
            "train/city/empty.jpg": b"",
            "train/loose.jpg": good[4],
            "train/sea/cmyk.jpg": encode(9, mode="CMYK"),
            "val/sea/3.jpg": good[3],
            "val/sea/seen.jpg": good[0],
            "val/city/5.jpg": good[5],
        }
    )
    (source / "train" / "sea" / "gone.jpg").symlink_to(source / "nowhere.jpg")
    train, val = pack(request(source, tmp_path / "packed")).splits
    assert train.problems == {"stray": 1, "unreadable": 2, "missing": 1, "duplicate": 1, "format": 2, "conflict": 1}
    assert (train.samples, train.converted, train.converted_formats) == (5, 2, {"JPEG": 1, "TIFF": 1})
    assert problems(tmp_path / "packed" / "train") == [
        ("conflict", "train/sea/1.jpg"),
        ("duplicate", "train/sea/1.jpg"),
        ("format", "train/city/wide.jp2"),
        ("format", "train/sea/page.jpg"),
        ("missing", "train/sea/gone.jpg"),
        ("stray", "train/loose.jpg"),
        ("unreadable", "train/city/empty.jpg"),
        ("unreadable", "train/sea/cut.jpg"),
    ]
    assert (val.samples, val.problems) == (3, {"leaked": 1})
    assert problems(tmp_path / "packed" / "val") == [("leaked", "val/sea/seen.jpg")]
    detail = json.loads((tmp_path / "packed" / "val" / "problems.jsonl").read_text())["detail"]
    assert detail == "same as train/sea/0.jpg"
    again = pack(request(source, tmp_path / "packed")).splits[0]
    assert (again.problems, again.converted_formats) == (train.problems, train.converted_formats)


def test_files_of_one_size_that_differ_in_one_byte_are_no_duplicates(
    encode: Encode, write_tree: WriteTree, tmp_path: Path
) -> None:
    long = encode(1, size=(500, 400), quality=95)
    assert len(long) > 3 * 4096
    source = write_tree(
        {
            "a/1.jpg": long + b"1",
            "a/2.jpg": long + b"2",
            "a/3.jpg": b"\xff\xd8\xff\xfe\x00\x03A" + long[2:],
            "a/4.jpg": b"\xff\xd8\xff\xfe\x00\x03B" + long[2:],
        }
    )
    (result,) = pack(request(source, tmp_path / "packed")).splits
    assert (result.samples, result.problems) == (4, {})


def test_a_class_without_usable_files_stops_it_before_any_work(photos: Path, tmp_path: Path) -> None:
    for path in photos.glob("val/sea/*"):
        path.write_bytes(b"")
    message = failure(request(photos, tmp_path / "packed"))
    assert "class `sea` has no usable image in val: val/sea/" in message
    assert "an empty file" in message
    assert not (tmp_path / "packed").exists()


def test_a_class_that_cannot_be_decoded_is_named(encode: Encode, write_tree: WriteTree, tmp_path: Path) -> None:
    source = write_tree({"sea/1.jpg": encode(1), "city/2.jpg": "nothing"})
    (result,) = pack(request(source, tmp_path / "packed", shard_mb=0.0001)).splits
    assert (result.empty_classes, result.shards, result.samples) == (("city",), 1, 1)
    assert len(opened(tmp_path / "packed")[1]) == 1  # a shard of which nothing is left is no shard


def test_a_set_of_bad_files_alone_is_an_error(write_tree: WriteTree, tmp_path: Path) -> None:
    message = failure(request(write_tree({"sea/1.jpg": "nothing"}), tmp_path / "packed"))
    assert "no image could be packed: problems.jsonl there says why" in message
    assert not (tmp_path / "packed" / "manifest.json").exists()


class TestPlaces:
    TABLE = "class,indoor_outdoor,category\nsea,outdoor,nature > water\n"
    SEA = Place(indoor_outdoor="outdoor", category=("nature", "water"))

    def test_they_go_into_each_manifest_and_into_no_fingerprint(self, photos: Path, tmp_path: Path) -> None:
        pack(request(photos, tmp_path / "without"))
        (photos / "places.csv").write_text(self.TABLE)
        result = pack(request(photos, tmp_path / "with"))
        assert [split.places for split in result.splits] == [1, 1]
        for split in ("train", "val"):
            without, known = (opened(tmp_path / name / split)[0] for name in ("without", "with"))
            assert (without.places, known.places) == ({}, {"sea": self.SEA})
            assert without.fingerprint == known.fingerprint
            assert without.source["plan"] == known.source["plan"]

    def test_they_come_into_a_set_that_is_packed_already(self, photos: Path, tmp_path: Path) -> None:
        pack(request(photos, tmp_path / "packed"))
        before = contents(tmp_path / "packed")
        (photos / "places.csv").write_text(self.TABLE)
        result = pack(request(photos, tmp_path / "packed"))
        assert all(split.complete_before and split.places == 1 for split in result.splits)
        after = contents(tmp_path / "packed")
        assert {name for name, digest in after.items() if before[name] != digest} == {
            "train/manifest.json",
            "val/manifest.json",
        }
        assert opened(tmp_path / "packed" / "train")[0].places == {"sea": self.SEA}
        pack(request(photos, tmp_path / "anew"))
        assert contents(tmp_path / "anew") == after

    def test_an_unknown_class_stops_it_before_any_work(self, photos: Path, tmp_path: Path) -> None:
        (photos / "places.csv").write_text(self.TABLE + "see,outdoor,\n")
        message = failure(request(photos, tmp_path / "packed"))
        assert "places.csv, line 3: class `see` is not in the data set" in message
        assert not (tmp_path / "packed").exists()

    def test_a_manifest_from_before_they_were_known_of(self, photos: Path, tmp_path: Path) -> None:
        pack(request(photos, tmp_path / "packed"))
        path = tmp_path / "packed" / "train" / "manifest.json"
        document = json.loads(path.read_text())
        assert document.pop("places") == {}
        fingerprint = opened(path.parent)[0].fingerprint
        path.write_text(json.dumps(document))
        assert (opened(path.parent)[0].fingerprint, opened(path.parent)[0].places) == (fingerprint, {})


class TestDestination:
    def test_the_same_plan_is_complete(self, photos: Path, tmp_path: Path) -> None:
        first = pack(request(photos, tmp_path / "packed"))
        stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "packed").rglob("*")}
        second = pack(request(photos, tmp_path / "packed"))
        assert all(split.complete_before for split in second.splits)
        assert [split.samples for split in second.splits] == [split.samples for split in first.splits]
        assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "packed").rglob("*")}

    def test_another_plan_is_refused_until_told_to_overwrite(self, photos: Path, tmp_path: Path) -> None:
        packed = tmp_path / "packed"
        pack(request(photos, packed))
        (packed / "train").rename(tmp_path / "elsewhere")
        before = contents(packed)
        assert "val: holds another packed data set" in failure(request(photos, packed, seed=1))
        assert contents(packed) == before  # nothing was begun in train either
        (tmp_path / "elsewhere").rename(packed / "train")
        assert "train: holds another packed data set" in failure(request(photos, packed, seed=1))
        (packed / "train" / "notes.txt").write_text("mine")
        pack(request(photos, packed, seed=1, shard_mb=48, overwrite=True))
        assert names(packed / "train") == {"000000.tar", "manifest.json", "notes.txt"}

    def test_tars_of_others_are_not_overwritten(self, photos: Path, tmp_path: Path) -> None:
        (tmp_path / "packed" / "train").mkdir(parents=True)
        (tmp_path / "packed" / "train" / "000000.tar").write_bytes(b"mine")
        assert "train: holds 000000.tar, which is not of this data set" in failure(request(photos, tmp_path / "packed"))

    def test_a_damaged_set_is_not_called_complete(self, photos: Path, tmp_path: Path) -> None:
        packed = tmp_path / "packed"
        pack(request(photos, packed))
        (packed / "train" / "000001.tar").unlink()
        assert "but 000001.tar is missing or damaged" in failure(request(photos, packed))
        (packed / "train" / "manifest.json").write_text("{}")
        assert "its manifest.json is damaged" in failure(request(photos, packed))
        pack(request(photos, packed, overwrite=True))
        assert len(opened(packed / "train")[1]) == 20

    def test_it_must_not_lie_in_the_source(self, photos: Path) -> None:
        assert "lies in the source" in failure(request(photos, photos / "packed"))


class TestInterruption:
    @staticmethod
    def stop_after(count: int) -> Any:
        def run(function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
            yield from map(function, tasks[:count])
            raise KeyboardInterrupt

        return run

    def test_it_goes_on_where_it_was_stopped(self, photos: Path, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt):
            pack(request(photos, tmp_path / "packed"), self.stop_after(2))
        assert not (tmp_path / "packed" / "train" / "manifest.json").exists()
        seen: list[tuple[int, int]] = []
        result = pack(request(photos, tmp_path / "packed"), on_progress=lambda done, total: seen.append((done, total)))
        assert [split.resumed_shards for split in result.splits] == [2, 0]
        assert seen[0][0] > 0
        assert seen[-1] == (30, 30)
        pack(request(photos, tmp_path / "whole"))
        assert contents(tmp_path / "packed") == contents(tmp_path / "whole")

    def test_a_shard_that_is_gone_is_packed_again(self, photos: Path, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt):
            pack(request(photos, tmp_path / "packed"), self.stop_after(2))
        (tmp_path / "packed" / "train" / "000000.tar").unlink()
        assert pack(request(photos, tmp_path / "packed")).splits[0].resumed_shards == 1

    def test_an_unfinished_pack_with_other_options_is_refused(self, photos: Path, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt):
            pack(request(photos, tmp_path / "packed"), self.stop_after(2))
        assert "an unfinished pack" in failure(request(photos, tmp_path / "packed", quality=50))
        result: PackResult = pack(request(photos, tmp_path / "packed", quality=50, overwrite=True))
        assert result.splits[0].resumed_shards == 0

    @pytest.mark.slow
    def test_a_killed_pack_leaves_no_workers_and_goes_on(self, photos: Path, tmp_path: Path) -> None:
        script = tmp_path / "endless.py"
        script.write_text(
            "import sys, time\n"
            "from scenerec.data.packing.pack import PackRequest, pack\n"
            "from scenerec.data.pool import process_runner\n"
            "from scenerec.data.packing.shard_writer import pack_shard\n"
            "def pack_three(task):\n"
            "    if task.number >= 3:\n"
            "        time.sleep(600)\n"
            "    return pack_shard(task)\n"
            "if __name__ == '__main__':\n"
            "    run = lambda function, tasks: process_runner(2)(pack_three, tasks)\n"
            "    pack(PackRequest.model_validate_json(sys.argv[1]), run)\n"
        )
        packed = tmp_path / "packed"
        wanted = request(photos, packed, split="train")
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        process = subprocess.Popen([sys.executable, str(script), wanted.model_dump_json()], env=environment)
        try:
            while len(list(packed.glob(".pack/00*.json"))) < 3:
                assert process.poll() is None
                time.sleep(0.02)
            workers = psutil.Process(process.pid).children(recursive=True)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert workers
        assert not psutil.wait_procs(workers, timeout=PATIENCE_S)[1]
        before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in packed.glob("*.tar")}
        assert len(before) == 3
        (result,) = pack(wanted).splits
        assert result.resumed_shards == 3
        assert before == {name: ((packed / name).stat().st_mtime_ns, (packed / name).read_bytes()) for name in before}
        pack(request(photos, tmp_path / "whole", split="train"))
        assert contents(packed) == contents(tmp_path / "whole")
