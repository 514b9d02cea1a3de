"""`scenerec data check`, on a folder and on what is packed of it, and what packing does with its table."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from typer.testing import CliRunner, Result

from scenerec.cli import app
from scenerec.data.packed_set import open_set
from scenerec.inference.bundles.bundle import open_bundle
from scenerec.inference.predictors.classifier import Classifier
from tests.tiny_bundle import make_tiny_bundle
from tests.unit.data.quality.textures import texture
from tests.unit.inference.predictors.test_embedder import with_head


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_packed_set_is_checked_by_its_shards(folder: Path, tmp_path: Path) -> None:
    assert scenerec("data", "pack", folder, tmp_path / "packed", "--processes", 1).exit_code == 0
    told = json.loads(scenerec("data", "check", tmp_path / "packed", "--processes", 1, "--json").stdout)
    kinds = [each["kind"] for each in told["findings"]]
    assert sorted(kinds) == sorted(kind for kind, _ in FOUND if kind != "unreadable")
    assert told["findings"][0]["path"].startswith("train/000000.tar:")
    scenerec("data", "check", f"{tmp_path}/packed/train", "--processes", 1, "--report", tmp_path / "p.html")
    assert "<img src=" in (tmp_path / "p.html").read_text()


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of three colours in two splits, in each of which one stands under another colour."""
    root = tmp_path_factory.mktemp("colours")
    for split, count in (("train", 12), ("val", 8)):
        for label, name in enumerate(("red", "green", "blue")):
            for number in range(count):
                pixels = texture(1000 * label + 100 * (split == "val") + number, 60, 60) // 2
                pixels[..., label] += 90
                shown_as = "green" if (name, number) == ("red", 3) else name
                save(pixels, root / split / shown_as / f"{name}{number}.jpg")
    return root


@pytest.fixture(scope="module")
def swapped_table(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = tmp_path_factory.mktemp("table") / "t.csv"
    assert scenerec("data", "check", colours, "--processes", 1, "--csv", table).exit_code == 0
    return table


SWAPPED = {"train/green/red3.jpg", "val/green/red3.jpg"}


def test_a_label_that_is_likely_wrong_is_found_and_mended(colours: Path, swapped_table: Path, tmp_path: Path) -> None:
    rows = [row for row in csv.DictReader(swapped_table.open()) if row["kind"] == "mislabelled"]
    assert {row["path"] for row in rows} == SWAPPED and {row["likely_class"] for row in rows} == {"red"}
    assert all(row["detail"].startswith("likely red (") for row in rows)
    pack = ("data", "pack", colours, tmp_path / "packed", "--processes", 1)
    packed = scenerec(*pack, "--exclude", swapped_table, "--relabel", swapped_table)
    assert packed.exit_code == 0, packed.output
    assert "2 images change their class" in packed.output and "0 images are left out" in packed.output
    told = scenerec("data", "check", tmp_path / "packed", "--processes", 1, "--report", tmp_path / "p.html")
    assert "mislabelled" not in told.stdout and "60 labels were judged by colours and textures" in told.stdout


def test_a_label_that_is_likely_wrong_is_left_out_only_where_it_is_said(
    colours: Path, swapped_table: Path, tmp_path: Path
) -> None:
    pack = ("data", "pack", colours, tmp_path / "packed", "--processes", 1, "--exclude", swapped_table)
    refused = scenerec(*pack, "--exclude-kinds", "wrong")
    assert refused.exit_code == 2 and "--exclude-kinds wrong: give some of leaked, conflict" in refused.stderr
    assert scenerec(*pack[:-2], "--exclude-kinds", "dark").exit_code == 2
    packed = scenerec(*pack, "--exclude-kinds", "dark,mislabelled")
    assert "2 images are left out" in packed.output and "train: 35 images" in packed.stdout


def test_a_table_of_other_classes_is_refused(colours: Path, tmp_path: Path) -> None:
    pack = ("data", "pack", colours, tmp_path / "packed", "--relabel", tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("path,likely_class\ntrain/red/red1.jpg,violet\n")
    refused = scenerec(*pack)
    assert refused.exit_code == 4 and "line 2: `violet`: is no class of" in refused.stderr
    rows = "".join(f"val/blue/blue{number}.jpg,red\n" for number in range(8))
    (tmp_path / "t.csv").write_text(f"path,likely_class\n{rows}")
    refused = scenerec(*pack)
    assert refused.exit_code == 4 and "leaves no image of `blue` in val" in refused.stderr


def test_a_model_judges_the_split_that_it_has_not_seen(colours: Path, tmp_path: Path) -> None:
    make_tiny_bundle(tmp_path / "bundle")
    check = ("data", "check", colours, "--processes", 1, "--model", tmp_path / "bundle", "--json")
    told = json.loads(scenerec(*check).stdout)
    assert told["labels"][0] == f"24 labels were judged by {tmp_path / 'bundle'}, which guess 96% of them"
    assert told["labels"][1].startswith("36 labels were judged by colours and textures")
    found = {each["path"]: each for each in told["findings"] if each["kind"] == "mislabelled"}
    assert found.keys() == SWAPPED
    of_model = found["val/green/red3.jpg"]
    content = (colours / of_model["path"]).read_bytes()
    [guesses] = Classifier(open_bundle(str(tmp_path / "bundle"))).classify([content])
    expected = {guess.label: guess.probability for guess in guesses}
    assert of_model["likely_class"] == guesses[0].label == "red"
    assert of_model["likely_probability"] == pytest.approx(expected["red"], rel=1e-5)
    assert of_model["label_probability"] == pytest.approx(expected["green"], rel=1e-5)


def test_what_a_model_of_other_classes_sees_is_judged_by(colours: Path, tmp_path: Path) -> None:
    make_tiny_bundle(tmp_path / "bundle", labels=("lava", "moss", "ice"))
    told = json.loads(
        scenerec("data", "check", colours, "--processes", 1, "--model", tmp_path / "bundle", "--json").stdout
    )
    assert told["labels"][0].startswith(f"60 labels were judged by what {tmp_path / 'bundle'} sees in them")
    assert {each["path"] for each in told["findings"] if each["kind"] == "mislabelled"} == SWAPPED


def test_a_model_that_has_trained_on_all_pictures_is_refused(colours: Path, tmp_path: Path) -> None:
    assert scenerec("data", "pack", colours, tmp_path / "packed", "--processes", 1).exit_code == 0
    fingerprint = open_set(str(tmp_path / "packed/train")).manifest.fingerprint
    bundle = make_tiny_bundle(tmp_path / "of_another")
    lineage = bundle.info.lineage.model_copy(update={"dataset_fingerprint": fingerprint})
    make_tiny_bundle(tmp_path / "bundle", lineage=lineage)
    check = ("data", "check", tmp_path / "packed/train", "--processes", 1, "--model")
    refused = scenerec(*check, tmp_path / "bundle")
    assert refused.exit_code == 2 and "has trained on these pictures, and repeats their labels" in refused.stderr
    told = scenerec(*check, tmp_path / "of_another").stdout
    assert "36 labels were judged by" in told and "it is taken not to have trained on these pictures" in told


def test_what_a_bundle_hardly_tells_apart_is_found(tmp_path: Path) -> None:
    """A picture in a mirror is another one to the hash; its mean colours, which this bundle sees, are the same."""
    for split in ("train", "val"):
        for number in range(6):
            save(texture(100 * (split == "val") + number), tmp_path / "photos" / split / "sea" / f"{number}.jpg")
    save(texture(2)[:, ::-1], tmp_path / "photos/val/sea/mirrored.jpg")
    with_head(tmp_path)
    check = ("data", "check", tmp_path / "photos", "--processes", 1, "--json")
    assert json.loads(scenerec(*check).stdout)["findings"] == []
    found = json.loads(scenerec(*check, "--model", tmp_path / "headed").stdout)["findings"][0]  # of three numbers each
    assert found["detail"].startswith("0% as far from val/sea/mirrored.jpg (val, sea) as from any other")
    assert (found["kind"], found["path"], found["twin"]) == ("similar", "train/sea/2.jpg", "val/sea/mirrored.jpg")
    make_tiny_bundle(tmp_path / "bundle")  # without a layer that classifies
    assert json.loads(scenerec(*check, "--model", tmp_path / "bundle").stdout)["findings"] == []


def test_one_class_alone_has_no_labels_to_doubt(tmp_path: Path) -> None:
    for number in range(3):
        save(texture(number), tmp_path / "photos" / "sea" / f"{number}.jpg")
    check = ("data", "check", tmp_path / "photos", "--processes", 1)
    assert "no label was judged: there is one class only" in scenerec(*check).stdout
    assert "label" not in scenerec(*check, "--no-labels").stdout


def test_a_table_of_another_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,kind\ntrain/sea/none.jpg,dark\n")
    refused = scenerec("data", "pack", folder, tmp_path / "packed", "--exclude", tmp_path / "t.csv")
    assert refused.exit_code == 4
    assert "line 2: train/sea/none.jpg: is no image of" in refused.stderr
    assert not (tmp_path / "packed").exists()


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    refused = scenerec("data", "check", tmp_path / "nothing")
    assert refused.exit_code == 4 and "no such file or folder" in refused.stderr
