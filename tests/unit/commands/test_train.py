"""`scenerec train` and `scenerec init`, up to what needs a cluster: what they say, write and refuse."""

import csv
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from scenerec.cli import app
from scenerec.config.file import load_config
from scenerec.data.packed_set import open_set
from scenerec.training.preflight import check_job
from tests.unit.data.quality.textures import texture


def scenerec(*arguments: object) -> Result:
    """In this process alone: others would take a second to start."""
    return CliRunner().invoke(app, [*map(str, arguments), "--processes", "1"])


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes, no splits; some images stand twice, encoded anew."""
    root = tmp_path_factory.mktemp("trip") / "my photos"
    for label, name in enumerate(("beach", "hut", "sea")):
        (root / name).mkdir(parents=True)
        for number in range(10):
            image = Image.fromarray(texture(100 * label + number, 90, 110))
            image.save(root / name / f"{number}.jpg", quality=90)
            if number < 3:
                image.save(root / name / f"{number}-again.jpg", quality=60)
    return root


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which commands are typed: without a cluster, and without a way to the internet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCENEREC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # where nobody listens
    return tmp_path


def test_a_dry_run_says_what_was_understood_chosen_and_why_and_writes_nothing(flat: Path, here: Path) -> None:
    done = scenerec("train", flat, "--output", "out", "--minutes", 5, "--dry-run")
    assert done.exit_code == 0, done.output
    for said in (
        "3 classes: beach, hut, sea",
        "divided into train and val",
        "resnet18",
        "each time in another crop and light",
    ):
        assert said in " ".join(done.output.split()), done.output
    assert list(here.iterdir()) == []


def test_a_dry_run_in_json(flat: Path) -> None:
    typed = ["--arch", "mobilenet_v3_small", "--set", "data.image_size=64", "--set", "optimize.epochs=7"]
    document = json.loads(scenerec("train", flat, "--output", "out", *typed, "--dry-run", "--json").stdout)
    config = document["config"]
    assert (config["name"], config["model"]["arch"]) == ("my-photos", "mobilenet_v3_small")
    assert (config["data"]["image_size"], config["optimize"]["epochs"]) == (64, 7)
    assert {each["title"] for each in document["choices"] if each["reason"] == "as you said"} == {
        *("network", "image size", "epochs")
    }


def test_the_file_of_init_is_packed_and_submitted_by_the_commands_that_it_names(flat: Path, here: Path) -> None:
    done = scenerec("init", flat, "--output", "out", "--minutes", 5)
    assert done.exit_code == 0, done.output
    document = json.loads(scenerec("init", flat, "--output", "out", "--minutes", 5, "--overwrite", "--json").stdout)
    division = list(csv.DictReader((here / "my-photos-division.csv").open()))
    split_of = {row["path"]: row["split"] for row in division}
    assert len(split_of) == 39
    assert all(split_of[f"hut/{n}.jpg"] == split_of[f"hut/{n}-again.jpg"] for n in range(3))
    program, *pack = shlex.split(document["pack"])
    assert program == "scenerec"
    assert scenerec(*pack).exit_code == 0
    config = load_config("train.yaml")
    sets = [open_set(url).manifest for url in (config.data.train, config.data.val)]
    assert [each.samples for each in sets] == [sum(s == split for s in split_of.values()) for split in ("train", "val")]
    assert check_job(config).plan.classes == 3

    of_the_set = scenerec("init", config.data.train.removesuffix("/train"), "-o", "of-set.yaml", "--minutes", 5)
    assert of_the_set.exit_code == 0, of_the_set.output
    assert load_config("of-set.yaml").data == config.data
    assert "data pack" not in of_the_set.output


def test_another_call_divides_in_the_same_way_and_packs_to_the_same_place(flat: Path, here: Path) -> None:
    def typed() -> dict[str, Any]:
        return json.loads(scenerec("init", flat, "--output", "out", "--overwrite", "--json").stdout)

    first, table = typed(), (here / "my-photos-division.csv").read_text()
    assert typed()["pack"] == first["pack"]
    shutil.copytree(flat, here / "my photos")
    Image.fromarray(texture(77, 90, 110)).save(here / "my photos/hut/new.jpg")
    larger = json.loads(scenerec("init", "my photos", "--output", "out", "--overwrite", "--json").stdout)
    assert larger["pack"] != first["pack"]
    assert set(table.splitlines()) < set((here / "my-photos-division.csv").read_text().splitlines())
    assert (here / "my-photos-division.csv~").read_text() == table


def test_init_replaces_no_file_unasked(flat: Path, here: Path) -> None:
    (here / "train.yaml").write_text("mine")
    done = scenerec("init", flat, "--output", "out")
    assert (done.exit_code, done.stderr) == (
        2, "error: --file train.yaml: is there already: name another file, or --overwrite\n",
    )  # fmt: skip
    assert (here / "train.yaml").read_text() == "mine"


def one_class(root: Path) -> None:
    (root / "sea").mkdir()
    Image.fromarray(texture(1)).save(root / "sea/1.jpg")
    Image.fromarray(texture(2)).save(root / "sea/2.jpg")


def one_image_a_class(root: Path) -> None:
    for label, name in enumerate(("hut", "sea")):
        (root / name).mkdir()
        Image.fromarray(texture(label)).save(root / name / "1.jpg")


def images_without_a_folder(root: Path) -> None:
    Image.fromarray(texture(1)).save(root / "1.jpg")


def no_pictures(root: Path) -> None:
    for name in ("hut", "sea"):
        (root / name).mkdir()
        for number in range(3):
            (root / name / f"{number}.jpg").write_bytes(b"no picture %d" % number)


def only_validation(root: Path) -> None:
    for name in ("hut", "sea"):
        (root / "val" / name).mkdir(parents=True)
        Image.fromarray(texture(len(name))).save(root / "val" / name / "1.jpg")


BAD = {
    "empty": (lambda root: None, "no known layout"),
    "one class": (one_class, "has one class (sea)"),
    "one image a class": (one_image_a_class, "hut, sea have fewer than 2 images"),
    "images in no folder": (images_without_a_folder, "no known layout"),
    "no pictures": (no_pictures, "hut, sea have fewer than 2 images that can be decoded (hut/0.jpg: "),
    "only validation": (only_validation, "no images to learn from (its splits are val)"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_folder_from_which_nothing_can_be_learned_is_refused_in_a_line(name: str, here: Path) -> None:
    make, said = BAD[name]
    folder = here / "odd"
    folder.mkdir()
    make(folder)
    done = scenerec("train", folder, "--output", "out")
    assert done.exit_code == 4
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert [each.name for each in here.iterdir()] == ["odd"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--arch", "resnet19"], "--set model.arch=resnet19: model.arch: unknown architecture 'resnet19'"),
        (
            ["--set", "model.weights=DEFAULT"],
            "--set model.weights=DEFAULT: are of one architecture: say which, by --arch",
        ),
        (
            ["--set", "model.weights=/w.pth"],
            "--set model.weights=/w.pth: are of one architecture: say which, by --arch",
        ),
        (["--set", "optimize.lr=fast"], "--set optimize.lr=fast: optimize.lr: "),
        (["--set", "optimize.lrr=1"], "--set optimize.lrr=1: optimize.lrr: unknown key; did you mean `lr`?"),
        (["--set", "name=other"], "--set name: is said by --name: leave it out"),
        (["--set", "data.train=/x"], "--set data.train: is said by FOLDER: leave it out"),
        (["--set", "task=multilabel"], "--set task: is said by FOLDER, whose images have one class each: leave it out"),
        (["--name", "my photos!"], "--name my photos!: must begin with a letter or digit"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(flat: Path, typed: list[str], said: str) -> None:
    done = scenerec("train", flat, "--output", "out", *typed)
    assert done.exit_code == 2, done.output
    assert said in done.stderr


def test_minutes_that_do_not_suffice(flat: Path) -> None:
    done = scenerec("train", flat, "--output", "out", "--minutes", 0.1, "--dry-run")
    assert done.exit_code == 2
    assert "--minutes 0.1: an epoch of" in done.stderr
    assert "give it --minutes 1 or more" in done.stderr


def test_one_split_alone_is_no_training(flat: Path, here: Path) -> None:
    assert scenerec("data", "pack", flat, "packed").exit_code == 0
    done = scenerec("init", "packed")
    assert done.exit_code == 4
    assert "is one packed set: name a folder with the packed sets train/ and val/" in done.stderr
