import gzip
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from scenerec.cli import app


@pytest.fixture(autouse=True)
def nothing_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENEREC_HOME", str(tmp_path / "home"))


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def run(*arguments: object, code: int = 0) -> list[str]:
    result = invoke(*arguments)
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout.splitlines()


def last_json(*arguments: object) -> Any:
    return json.loads(run(*arguments, "--json")[-1])


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    folder = tmp_path / "scenes"
    drawn = last_json("synthetic", folder, "--classes", 2, "--train-per-class", 6, "--val-per-class", 3, "--size", 32)
    assert drawn == {"folder": str(folder), "classes": ["beach", "city"], "train": 12, "val": 6}
    return folder


def test_synthetic_pack_show_verify(scenes: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    result = last_json("pack", scenes, packed, "--processes", 1)
    assert [(split["split"], split["samples"]) for split in result["splits"]] == [("train", 12), ("val", 6)]
    assert "complete already" in run("pack", scenes, packed, "--processes", 1)[0]

    shown = last_json("show", packed / "train", "--sheet", tmp_path / "sheet.png", "--per-class", 2)
    assert (shown["class_counts"], shown["places"]) == ({"beach": 6, "city": 6}, 2)
    assert "indoors or outdoors, or categories, are known of 2 of 2 classes" in run("show", packed / "train")
    assert shown["width"] == {"p5": 32, "p50": 32, "p95": 32}
    assert Image.open(tmp_path / "sheet.png").format == "PNG"

    assert last_json("verify", packed / "val", "--processes", 1)["defects"] == []
    assert "6 samples in 1 shards are as packed" in run("verify", packed / "val", "--no-decode", "--processes", 1)[0]
    for command in ("show", "verify"):
        told = f"error: {packed}: is packed by split: name one of them: {packed}/train or {packed}/val"
        assert invoke(command, packed).stderr.splitlines() == [told]


def test_coordinates_are_packed_shown_and_nowhere_told(scenes: Path, tmp_path: Path) -> None:
    table = tmp_path / "coordinates.csv"
    table.write_text(
        "file,latitude,longitude,time\n"
        "train/beach/00000.jpg,47.654321,8.765432,2024-06-21\ntrain/city/00000.jpg,0,0\nval/beach/00000.jpg,1,2\n"
    )
    packing = ("pack", scenes, tmp_path / "packed", "--coordinates", table, "--processes", 1)
    result = invoke(*packing, "--json")
    assert result.exit_code == 0, result.output
    assert "  coordinates of 3 of 18 images, from coordinates.csv\n" in result.stderr
    assert "  warning: 1 image is at 0, 0, where programs put what they do not know, such as line 3" in result.stderr
    assert "  the coordinates of 2 are known, of the other 10 not\n" in result.stdout
    assert [split["coordinates"] for split in json.loads(result.stdout.splitlines()[-1])["splits"]] == [2, 1]
    shown = invoke("show", tmp_path / "packed" / "train")
    expected = "coordinates are known of 2 of 12 images (of 12 images: latitude 0 to 48, longitude 0 to 9)\n"
    assert expected in shown.stdout
    checked = invoke("verify", tmp_path / "packed" / "train", "--processes", 1)
    assert "12 samples in 1 shards are as packed" in checked.stdout
    invoke("pack", scenes, tmp_path / "without", "--processes", 1)
    compared = invoke("diff", tmp_path / "without", tmp_path / "packed", "--processes", 1, "--json")
    assert "  coordinates are known of 0 -> 2 images\n" in compared.stdout and "images: 3 relocated" in compared.stdout
    table.write_text(table.read_text().replace("47.654321,", "147.654321,"))
    refused = invoke("pack", scenes, tmp_path / "other", "--coordinates", table, "--processes", 1)
    assert refused.exit_code == 4 and "line 2: latitude is not between -90 and 90 degrees: are " in refused.stderr
    told = "".join(each.output for each in (result, shown, checked, compared, refused))
    told += "".join(path.read_text() for path in tmp_path.rglob("*.json*"))
    assert "47.65" not in told and "8.765" not in told


def test_photographs_without_a_place_in_their_exif_are_refused_before_any_work(scenes: Path, tmp_path: Path) -> None:
    result = invoke("pack", scenes, tmp_path / "packed", "--coordinates-from-exif", "--processes", 1)
    assert result.exit_code == 4
    assert "none of the 18 images has a place in its EXIF: leave --coordinates-from-exif out" in result.stderr
    assert not (tmp_path / "packed").exists() or not list((tmp_path / "packed").iterdir())


def test_drawn_scenes_with_coordinates(tmp_path: Path) -> None:
    few = ("--classes", 4, "--train-per-class", 2, "--val-per-class", 1, "--size", 16)
    drawn = last_json("synthetic", tmp_path / "scenes", *few, "--coordinates", "place")
    assert drawn["classes"] == ["beach_north", "beach_south", "city_atlantic", "city_pacific"]
    table = tmp_path / "scenes" / "coordinates.csv"
    packed = last_json("pack", tmp_path / "scenes", tmp_path / "packed", "--coordinates", table, "--processes", 1)
    assert [(split["samples"], split["coordinates"]) for split in packed["splits"]] == [(8, 8), (4, 4)]


def test_a_source_in_a_store_is_to_be_copied_first(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["data", "pack", "s3://bucket/raw", str(tmp_path / "packed")])
    assert result.exit_code == 2
    assert result.output == "error: SOURCE s3://bucket/raw: must be on this machine: copy it first (scenerec cp)\n"


def test_all_that_sun397_calls_jpg_is_packed(tmp_path: Path) -> None:
    """Some of its files are BMPs or GIFs: without them the official 50 images a class cannot be had."""
    source = tmp_path / "sun"
    for at, kind in enumerate(("JPEG", "BMP", "GIF", "WEBP", "PNG", "JPEG")):
        for folder in ("a/abbey", "b/bar"):
            path = source / folder / f"sun_{at}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.effect_noise((40, 30), 50 + at + len(folder)).save(path, kind)
    (source / "ClassName.txt").write_text("/a/abbey\n/b/bar\n")
    for name, numbers in (("Training_01", (0, 1, 2)), ("Testing_01", (3, 4, 5))):
        lines = [f"/{folder}/sun_{at}.jpg\n" for folder in ("a/abbey", "b/bar") for at in numbers]
        (source / f"{name}.txt").write_text("".join(lines))
    result = last_json("pack", source, tmp_path / "packed", "--processes", 1)
    found = [(each["split"], each["samples"], each["converted"], each["problems"]) for each in result["splits"]]
    assert found == [("train", 6, 4, {}), ("val", 6, 2, {})]
    assert last_json("verify", tmp_path / "packed" / "train", "--processes", 1)["defects"] == []


def test_what_is_too_large_or_of_no_format_that_is_read_is_left_out_and_named(scenes: Path, tmp_path: Path) -> None:
    Image.new("1", (8000, 7000)).save(scenes / "train" / "beach" / "poster.png")
    Image.new("RGB", (8, 8)).save(scenes / "train" / "city" / "scan.jp2")
    Image.effect_noise((2, 16_000), 50).save(scenes / "train" / "city" / "line.png")
    result = last_json("pack", scenes, tmp_path / "packed", "--processes", 1, "--split", "train")
    assert [(each["samples"], each["problems"]) for each in result["splits"]] == [(13, {"unreadable": 1, "format": 1})]
    told = [json.loads(line) for line in (tmp_path / "packed" / "problems.jsonl").read_text().splitlines()]
    assert {(Path(each["path"]).name, each["detail"]) for each in told} == {
        ("poster.png", "8000 x 7000 pixels: at most 50 million are taken: scale it down"),
        ("scan.jp2", "JPEG 2000 is not read: convert it to JPEG or PNG"),
    }


def test_pack_names_the_line_of_an_unknown_class(scenes: Path, tmp_path: Path) -> None:
    with (scenes / "places.csv").open("a") as file:
        file.write("see,outdoor,\n")
    result = invoke("pack", scenes, tmp_path / "packed", "--processes", 1)
    assert result.exit_code == 4
    assert f"error: {scenes}/places.csv, line 4: class `see` is not in the data set" in result.stderr


def test_verify_lists_what_is_wrong_and_fails(scenes: Path, tmp_path: Path) -> None:
    run("pack", scenes, tmp_path, "--split", "val", "--processes", 1)
    (tmp_path / "000000.tar").write_bytes(b"damaged")
    lines = run("verify", tmp_path, "--processes", 1, code=4)
    assert lines[0].startswith("000000.tar: 7 bytes, ")


def test_pack_tells_which_formats_it_re_encoded(scenes: Path, tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif", "c.avif"):
        Image.effect_noise((8, 8), 50).save(scenes / "val" / "beach" / name)
    lines = run("pack", scenes, tmp_path / "packed", "--processes", 1, "--split", "val")
    assert "  3 were re-encoded, as no plain 8-bit RGB or grey, or not upright: 1 AVIF, 2 TIFF" in lines


def test_pack_tells_of_how_many_pictures_it_took_metadata(scenes: Path, tmp_path: Path) -> None:
    for name in ("00000.jpg", "00001.jpg"):
        path = scenes / "val" / "beach" / name
        path.write_bytes(path.read_bytes()[:2] + b"\xff\xfe\0\x0dat my home." + path.read_bytes()[2:])
    lines = run("pack", scenes, tmp_path / "bare", "--processes", 1, "--split", "val")
    assert "  metadata (EXIF, GPS, comments) was taken out of 2, their pixels are unchanged" in lines
    lines = run("pack", scenes, tmp_path / "kept", "--processes", 1, "--split", "val", "--keep-metadata")
    assert not any("metadata" in line for line in lines)


def test_pack_tells_what_it_left_out(scenes: Path, tmp_path: Path) -> None:
    beach = scenes / "train" / "beach"
    (beach / "again.jpg").write_bytes((beach / "00000.jpg").read_bytes())
    (scenes / "val" / "city" / "seen.jpg").write_bytes((beach / "00001.jpg").read_bytes())
    result = invoke("pack", scenes, tmp_path / "packed", "--processes", 1)
    assert f"left out: 1 duplicate (listed in {tmp_path}/packed/train/problems.jsonl)" in result.output
    assert "warning: 1 images stand in train too" in result.output


def test_diff_ends_as_diff_does(scenes: Path, tmp_path: Path) -> None:
    run("pack", scenes, tmp_path / "may", "--processes", 1)
    assert run("diff", tmp_path / "may", tmp_path / "may") == [
        f"A {tmp_path}/may",
        f"B {tmp_path}/may",
        *(line for line in run("diff", tmp_path / "may", tmp_path / "may") if "fingerprint" in line),
        "the sets are the same: samples, order and classes",
    ]
    (scenes / "train" / "city" / "00002.jpg").unlink()
    run("pack", scenes, tmp_path / "june", "--processes", 1)
    lines = run("diff", tmp_path / "may", tmp_path / "june", "--processes", 1, code=1)
    assert lines[2:4] == ["train: 12 -> 11 images in 1 shards, 0 of which are the same", "  city: 6 -> 5 (-1)"]
    assert "  removed train/000000.tar: 00000008-00002 (city)" in lines
    told = json.loads(run("diff", tmp_path / "may", tmp_path / "june", "--json", "--processes", 1, code=1)[-1])
    assert (told["same"], [change["kind"] for change in told["samples"]].count("removed")) == (False, 1)
    quick = run("diff", tmp_path / "may", tmp_path / "june", "--no-samples", code=1)
    assert quick[-1] == "the sets differ; their images were not compared"
    missing = invoke("diff", tmp_path / "may", tmp_path / "july")
    assert missing.exit_code == 4 and f"error: {tmp_path}/july: no packed data set here" in missing.stderr


def test_add_says_what_it_did_and_what_it_left_out(scenes: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    run("pack", scenes, packed, "--processes", 1)
    more = tmp_path / "more" / "train"
    for name in ("beach", "harbour"):
        (more / name).mkdir(parents=True)
        Image.effect_noise((40, 30), 50 + len(name)).save(more / name / "new.jpg")
    (more / "beach" / "again.jpg").write_bytes((scenes / "train" / "beach" / "00000.jpg").read_bytes())
    refused = invoke("add", more.parent, packed, "--splits", "train=train")
    assert refused.exit_code == 4
    assert f"error: {more.parent}: class `harbour` is not in {packed}/train: correct its name" in refused.stderr
    arguments = ("add", more.parent, packed, "--splits", "train=train", "--new-classes", "--processes", 1)
    lines = run(*arguments, "--json")
    assert lines[:3] == [
        f"train: 2 images added in 1 shards; 14 images of 3 classes now: {packed}/train",
        "  new classes: harbour",
        f"  left out: 1 duplicate (listed in {packed}/train/{json.loads(lines[-1])['sets'][0]['problems_key']})",
    ]
    assert [(each["split"], each["added"]) for each in json.loads(lines[-1])["sets"]] == [("train", 2), ("val", 0)]
    assert "these images were added before" in run(*arguments)[0]
    assert run("diff", packed / "train", packed / "train", "--no-samples")[-1].startswith("the sets are the same")
    assert last_json("verify", packed / "train", "--processes", 1)["samples"] == 14


class TestAdopt:
    @pytest.fixture
    def foreign(self, scenes: Path, tmp_path: Path) -> Path:
        """The validation pictures in two shards, one of them as tar.gz, with the class's name in KEY.txt."""
        folder = tmp_path / "foreign"
        folder.mkdir()
        for index in range(2):
            with tarfile.open(folder / f"part-{index}.tar", "w") as tar:
                for path in sorted((scenes / "val").glob("*/*.jpg"))[index::2]:
                    name = f"{path.parent.name}{path.stem}"
                    tar.add(path, f"{name}.jpg")
                    (tmp_path / "label").write_text(path.parent.name)
                    tar.add(tmp_path / "label", f"{name}.txt")
        plain = folder / "part-1.tar"
        (folder / "part-1.tar.gz").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
        return folder

    def test_shards_become_a_set(self, foreign: Path) -> None:
        lines = run("adopt", foreign / "part-{0..1}.tar*", "--labels", "txt", "--processes", 1, "--json")
        assert lines[0].startswith("6 images of 2 classes in 2 shards, ")
        assert lines[1] == "  classes: beach, city"
        found = json.loads(lines[-1])
        assert (found["written"], found["samples"], found["url"]) == (True, 6, str(foreign))
        assert run("verify", foreign, "--processes", 1)[-1].endswith("are as packed, every image decodes.")
        assert run("show", foreign)[0].startswith(f"{foreign}: 6 images of 2 classes in 2 shards")

    def test_what_is_wrong_is_listed_up_to_a_limit(self, foreign: Path) -> None:
        with tarfile.open(foreign / "part-2.tar", "w") as tar:
            for index in range(23):
                tar.addfile(tarfile.TarInfo(f"{index:02d}.txt"))
        result = invoke("adopt", foreign, "--labels", "txt", "--processes", 1)
        assert result.exit_code == 4
        assert "part-2.tar: 19: the image is missing (it has txt)\nand 3 more\n" in result.stderr
        told = (
            f"error: {foreign}: nothing was adopted: 23 without one image: mend them, or leave them out with --skip-bad"
        )
        assert told in result.stderr
        lines = run("adopt", foreign, "--labels", "txt", "--processes", 1, "--skip-bad")
        assert "  left out: 23 without one image" in lines

    def test_odd_options_are_named(self, foreign: Path) -> None:
        result = invoke("adopt", foreign, "--labels", "pyd")
        assert "error: --labels pyd: is none of cls, txt, labels.json, json:FIELD and json:FIELD[]" in result.stderr
        result = invoke("adopt", "https://example.org/{0..3}.tar")
        assert "SHARDS https://example.org/{0..3}.tar: only s3:// addresses and local paths" in result.stderr


def test_bench_says_what_a_core_feeds(scenes: Path, tmp_path: Path) -> None:
    run("pack", scenes, tmp_path, "--split", "train", "--processes", 1)
    arguments = ("--framework", "torch", "--seconds", 0.1, "--threads", 1, "--image-size", 32, "--gpu", 1, "--json")
    lines = run("bench", tmp_path, *arguments)
    assert [line.split("  ")[0] for line in lines[1:5]] == ["fetch", "decode", "decode, crop, resize", "torch batches"]
    assert lines[5].startswith("torch: one core feeds ") and "a GPU that trains 1 images/s needs 1 core(s)" in lines[5]
    told = json.loads(lines[-1])
    assert (told["url"], told["image_size"], len(told["timings"])) == (str(tmp_path), 32, 4)
    assert told["verdicts"][0]["cores_per_gpu"] == 1
