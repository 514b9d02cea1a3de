"""`scenerec predict --output`: a table of answers instead of lines on the screen."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from scenerec.cli import app
from tests.colour_set import PER_CLASS, pack_colours
from tests.held_file import HeldFile
from tests.patience import wait_until
from tests.tiny_bundle import make_tiny_bundle


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, colour in (("a.jpg", (250, 10, 10)), ("b.png", (10, 250, 10)), ("c.webp", (10, 10, 250))):
        Image.new("RGB", (40, 30), colour).save(folder / name)
    return folder


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    make_tiny_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def test_the_lines_are_those_that_are_printed_without(photos: Path, bundle: Path, tmp_path: Path) -> None:
    printed = run(photos, "-m", bundle, "-k", 2, "--json")
    result = run(photos, "-m", bundle, "-k", 2, "--output", tmp_path / "answers.jsonl")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "answers.jsonl").read_text() == printed.stdout
    assert result.stdout.startswith("3 of 3 images answered in ")
    assert result.stdout.endswith(f": {tmp_path}/answers.jsonl\n")


def test_parquet_is_the_format_of_a_folder(photos: Path, bundle: Path, tmp_path: Path) -> None:
    result = run(photos, "-m", bundle, "--output", tmp_path / "answers", "--images-per-part", 2, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["images"], told["parts"], told["unreadable_list"]) == (3, 2, None)
    assert sorted(path.name for path in (tmp_path / "answers").glob("*.*")) == [
        "part-000000.parquet",
        "part-000001.parquet",
    ]


def test_images_that_cannot_be_read_are_counted_and_the_exit_code_tells(
    photos: Path, bundle: Path, tmp_path: Path
) -> None:
    (photos / "b.png").write_text("not an image")
    result = run(photos, "-m", bundle, "--output", tmp_path / "answers.csv")
    assert result.exit_code == 4
    assert "2 of 3 images answered" in result.stdout
    listed = tmp_path / "answers.unreadable.csv"
    assert result.stderr == f"error: 1 image cannot be read: listed in {listed}\n"
    assert listed.read_text().splitlines()[1].startswith(f'{photos}/b.png,"not a JPEG, ')


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ("photos -o a.csv --format jsonl", 2, "--format jsonl: {here}/a.csv is a .csv file"),
        ("photos -o answers --format xml", 2, "--format xml: is none of parquet, csv, jsonl"),
        ("photos -o a.csv --endpoint http://localhost:1", 2, "--endpoint: answers what is printed: leave it out"),
        ("photos -o a.csv --explain maps", 2, "--explain: answers what is printed"),
        ("photos --workers 2", 2, "--workers: is for answers that are written: give --output as well"),
        ("photos --overwrite", 2, "--overwrite: is for answers that are written"),
        ("photos --embeddings", 2, "--embeddings: is for answers that are written"),
        (
            "photos -o a.csv --embeddings",
            2,
            "--embeddings: embeddings are lists, which CSV does not take: write .parquet or .jsonl",
        ),
        ("https://here/a.jpg -o a.csv", 2, "IMAGE https://here/a.jpg: with --output, name files, folders, s3://"),
        ("photos photos -o a.csv", 2, "{here}/photos: is named twice"),
        ("nowhere -o a.csv", 3, "{here}/nowhere: no such file or folder"),
        ("bundle -o a.csv", 4, "{here}/bundle: has no JPEG, PNG, WebP, GIF or BMP image in it"),
        ("photos -o photos/a.jpg/a.csv", 3, "{here}/photos/a.jpg: is a file: name a folder"),
        ("photos -o a.csv --latitude 7 --longitude 7", 2, "--latitude: {here}/bundle does not read where"),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_option(
    photos: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, code: int, told: str
) -> None:
    monkeypatch.chdir(photos.parent)
    result = run(*arguments.split(), "-m", "bundle")
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert result.stderr.startswith(f"error: {told.format(here=photos.parent)}")
    assert not (photos.parent / "a.csv").exists()


def test_what_was_killed_goes_on_where_it_was(bundle: Path, tmp_path: Path) -> None:
    """Killed while it reads the second shard; the answers of the first are there, and are kept."""
    packed, output = Path(pack_colours(tmp_path / "colours")), tmp_path / "answers"
    arguments = ["predict", str(packed), "-m", str(bundle), "-o", str(output), "--format", "jsonl", "--threads", "1"]
    held = HeldFile(packed / "000001.tar")
    program = [sys.executable, "-m", "scenerec", *arguments]
    running = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        first = output / "part-000000.jsonl"
        wait_until(lambda: first.exists() or running.poll() is not None, "the answers of the first shard")
        held.kill_reader(running)
        running.communicate()
    finally:
        running.kill()
    assert running.returncode == -9
    assert list(output.glob("part-*")) == [first]
    written_ns = first.stat().st_mtime_ns
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["parts_before"] == 1
    assert first.stat().st_mtime_ns == written_ns
    images = [json.loads(line)["image"] for path in output.glob("part-*") for line in path.read_text().splitlines()]
    assert len(set(images)) == len(images) == 3 * PER_CLASS
