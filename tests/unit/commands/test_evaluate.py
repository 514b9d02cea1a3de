import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from scenerec.cli import app
from scenerec.commands.evaluate import _print as print_figures
from scenerec.inference.evaluation.evaluator import examine_here
from tests.colour_set import CLASSES, pack_colours
from tests.subsampled_jpeg import RARE, subsampled_jpeg
from tests.tiny_bundle import make_tiny_bundle


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> str:
    return pack_colours(tmp_path_factory.mktemp("colours"))


@pytest.fixture
def model(tmp_path: Path) -> str:
    return make_tiny_bundle(tmp_path / "model", labels=CLASSES).url


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_the_figures_are_printed(model: str, colours: str, tmp_path: Path) -> None:
    result = run(model, "--data", colours, "--report", tmp_path / "report.html")
    assert result.exit_code == 0, result.output
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[:2] == [f"30 of 30 images of 3 classes, {colours}", model]
    for expected in ("top-1 93.33 %", "95 % interval 78.7 - 98.2", "mean class accuracy 93.33 %"):
        assert expected in lines
    assert "80.00 % a/red (8 of 10)" in lines
    assert "2 a/red -> b/green (20% of its class)" in lines
    assert (tmp_path / "report.html").read_text().endswith("</html>\n")


@pytest.mark.slow
@pytest.mark.parametrize("crops", [1, 10])
def test_pictures_of_all_formats_and_proportions_are_evaluated(tmp_path: Path, crops: int) -> None:
    source = tmp_path / "images"
    for colour in CLASSES:
        name = colour.rpartition("/")[2]
        (source / colour).mkdir(parents=True)
        for size in ((40, 30), (2, 16_000), (16_000, 2)):
            for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP"):
                image = Image.new("RGB", size, name)
                image.putpixel((len(name) % 2, 0), (9, 9, len(kind) + len(name)))  # else the same as another
                image.save(source / colour / f"{kind}-{size[0]}.jpg", kind)
        rare = subsampled_jpeg(Image.new("RGB", (40, 30), name), RARE[0])
        (source / colour / "rare.jpg").write_bytes(rare)
    packed = CliRunner().invoke(app, ["data", "pack", str(source), str(tmp_path / "packed"), "--nested", "path"])
    assert (packed.exit_code, "left out" in packed.output) == (0, False), packed.output
    model = make_tiny_bundle(tmp_path / "model", labels=CLASSES).url
    found = json.loads(run(model, "--data", tmp_path / "packed", "--crops", crops, "--json").stdout)
    assert found["evaluation"]["samples"] == 48
    assert found["evaluation"]["top1"] == 1.0


def test_two_models_are_printed_side_by_side(model: str, colours: str, tmp_path: Path) -> None:
    other = make_tiny_bundle(tmp_path / "other", scale=-0.05, labels=CLASSES).url
    result = run(model, "--data", colours, "--compare", other)
    assert result.exit_code == 0, result.output
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    for expected in (f"A: {model}", f"B: {other}", "top-1 93.33 % 6.67 %", "agreement 0.00 %", "only A right 28"):
        assert expected in lines
    assert lines[-1].startswith("A is better than B by 86.67 points")


def test_the_framework_that_was_asked_for_is_named(
    model: str, colours: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(run(model, "--data", colours, "--limit", 3, "--compare", model, "--json").stdout)
    found["request"]["other"]["framework"] = "tensorflow"  # which a bundle does not have
    print_figures(found)
    assert capsys.readouterr().out.splitlines()[1:3] == [f"A: {model}", f"B: {model}, in tensorflow"]


def test_json_and_files_say_the_same(model: str, colours: str, tmp_path: Path) -> None:
    result = run(model, "--data", colours, "--limit", 12, "--crops", 10, "--output", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    (line,) = result.stdout.splitlines()
    found = json.loads(line)
    assert found == json.loads((tmp_path / "out" / "evaluation.json").read_bytes())
    assert found["evaluation"]["samples"] == 12
    assert found["request"]["crops"] == 10


def test_what_runtimes_print_is_left_out(
    model: str, colours: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def greet(*arguments: Any) -> Any:
        os.write(2, b"INFO: Created a delegate")
        return examine_here(*arguments)

    monkeypatch.setattr("scenerec.commands.evaluate.examine_here", greet)
    for extra, printed in (((), ""), (("--verbose",), "INFO: Created a delegate")):
        assert run(model, "--data", colours, "--limit", 3, *extra).exit_code == 0
        assert capfd.readouterr().err == printed


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--data", "DATA", "--crops", 5], 2, "--crops: must be 1 or 10, not 5"),
        (
            ["--data", "DATA", "--framework", "jax"],
            2,
            "--framework: must be torch or tensorflow, not 'jax'",
        ),
        (
            ["--data", "DATA", "--compare", "MODEL", "--compare-framework", "jax"],
            2,
            "--compare-framework: must be torch or tensorflow, not 'jax'",
        ),
        (["--data", "DATA", "--framework", "torch"], 2, "runs without a framework: leave --framework out"),
        (["--data", "nowhere"], 4, "no packed data set here"),
        (["--data", "ftp://x"], 2, "--data ftp://x: only s3:// addresses and local paths are understood"),
        ([], 2, "does not name a validation set: give one with --data SET"),
        (["--data", "DATA", "--report", "no/such/folder.html"], 2, "there is no folder no/such"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    model: str, colours: str, arguments: list[object], code: int, message: str
) -> None:
    given = [{"DATA": colours, "MODEL": model}.get(str(argument), argument) for argument in arguments]
    result = run(model, *given)
    assert result.exit_code == code, (result.output, result.exception)
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and message in line


def test_what_is_no_model_is_named(colours: str, tmp_path: Path) -> None:
    result = run(tmp_path, "--data", colours)
    assert result.exit_code == 6
    assert f"error: {tmp_path}: neither a run's folder" in result.stderr


def test_the_accuracy_without_coordinates_is_told_where_a_model_reads_them(tmp_path: Path) -> None:
    data = pack_colours(tmp_path / "located", coordinates=True)
    model = make_tiny_bundle(tmp_path / "reads", labels=CLASSES, coordinates=True).url
    result = CliRunner().invoke(app, ["evaluate", model, "--data", data])
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["top-1", "100.00", "%"] in lines and ["without", "coordinates", "93.33", "%"] in lines
