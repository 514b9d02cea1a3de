"""`scenerec data check`, on a folder and on what is packed of it, and what packing does with its table."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from typer.testing import CliRunner, Result

from scenerec.cli import app
from tests.unit.data.quality.textures import texture


def scenerec(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def save(pixels: np.ndarray, path: Path, quality: int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=quality)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes in two splits, with one picture of each fault."""
    root = tmp_path_factory.mktemp("photos")
    for split, count in (("train", 21), ("val", 3)):
        for label, name in enumerate(("hut", "sea")):
            for number in range(count):
                save(texture(1000 * label + 100 * (split == "val") + number), root / split / name / f"{number:02}.jpg")
    save(texture(101), root / "train/hut/leaked.jpg", 60)
    save(texture(3), root / "train/sea/conflict.jpg", 70)
    save(texture(50, 320, 400), root / "train/hut/larger.jpg")
    save(texture(50, 320, 400)[::2, ::2], root / "train/hut/smaller.jpg")
    save(np.full((90, 90, 3), 7, np.uint8), root / "train/sea/blank.jpg")
    save(texture(40) // 30, root / "train/sea/dark.jpg")
    save(np.asarray(Image.fromarray(texture(41)).filter(ImageFilter.GaussianBlur(4))), root / "train/sea/blurred.jpg")
    save(texture(42, 30, 40), root / "train/sea/tiny.jpg")
    save(texture(43, 60, 600), root / "train/sea/wide.jpg")
    (root / "train/sea/broken.jpg").write_bytes(b"no picture")
    return root


FOUND = {
    ("leaked", "train/hut/leaked.jpg"),
    ("conflict", "train/sea/conflict.jpg"),
    ("conflict", "train/hut/03.jpg"),
    ("unreadable", "train/sea/broken.jpg"),
    ("blank", "train/sea/blank.jpg"),
    ("blurred", "train/sea/blurred.jpg"),
    ("dark", "train/sea/dark.jpg"),
    ("duplicate", "train/hut/smaller.jpg"),
    ("tiny", "train/sea/tiny.jpg"),
    ("odd-ratio", "train/sea/wide.jpg"),
}


def test_each_fault_is_found_and_no_other(folder: Path) -> None:
    told = json.loads(scenerec("data", "check", folder, "--processes", 1, "--json").stdout)
    found = [(each["kind"], each["path"]) for each in told["findings"]]
    assert set(found) == FOUND and len(found) == len(FOUND)
    assert [kind for kind, _ in found][:3] == ["leaked", "conflict", "conflict"]
    assert told["pictures"] == 58 and told["few"] == {}
    leaked = told["findings"][0]
    assert leaked["twin"] == "val/hut/01.jpg" and leaked["detail"].startswith(
        "looks the same as val/hut/01.jpg (val, hut)"
    )


def test_the_table_is_what_packing_leaves_out(folder: Path, tmp_path: Path) -> None:
    shown = scenerec(
        "data", "check", folder, "--processes", 1, "--csv", tmp_path / "t.csv", "--report", tmp_path / "p.html"
    )
    assert "58 pictures, 10 to look at" in shown.stdout
    rows = list(csv.DictReader((tmp_path / "t.csv").open()))
    assert {(row["kind"], row["path"]) for row in rows} == FOUND
    page = (tmp_path / "p.html").read_text()
    assert page.count("<img src=") == 2 * 4 + 5 and "http://" not in page  # four with twins, one without a picture
    packed = scenerec("data", "pack", folder, tmp_path / "packed", "--exclude", tmp_path / "t.csv", "--processes", 1)
    assert packed.exit_code == 0, packed.output
    assert "10 images are left out" in packed.output and "train: 42 images" in packed.stdout
    again = json.loads(scenerec("data", "check", tmp_path / "packed", "--processes", 1, "--json").stdout)
    assert (again["pictures"], again["findings"]) == (48, [])


def test_a_packed_set_is_checked_by_its_shards(folder: Path, tmp_path: Path) -> None:
    assert scenerec("data", "pack", folder, tmp_path / "packed", "--processes", 1).exit_code == 0
    told = json.loads(scenerec("data", "check", tmp_path / "packed", "--processes", 1, "--json").stdout)
    kinds = [each["kind"] for each in told["findings"]]
    assert sorted(kinds) == sorted(kind for kind, _ in FOUND if kind != "unreadable")
    assert told["findings"][0]["path"].startswith("train/000000.tar:")
    scenerec("data", "check", f"{tmp_path}/packed/train", "--processes", 1, "--report", tmp_path / "p.html")
    assert "<img src=" in (tmp_path / "p.html").read_text()


def test_a_table_of_another_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,kind\ntrain/sea/none.jpg,dark\n")
    refused = scenerec("data", "pack", folder, tmp_path / "packed", "--exclude", tmp_path / "t.csv")
    assert refused.exit_code == 4
    assert "line 2: train/sea/none.jpg: is no image of" in refused.stderr
    assert not (tmp_path / "packed").exists()


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    refused = scenerec("data", "check", tmp_path / "nothing")
    assert refused.exit_code == 4 and "no such file or folder" in refused.stderr
