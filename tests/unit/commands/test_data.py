import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from scenerec.commands.data import app
from scenerec.errors import DataError


def run(*arguments: object, code: int = 0) -> list[str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
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


def test_pack_names_the_line_of_an_unknown_class(scenes: Path, tmp_path: Path) -> None:
    with (scenes / "places.csv").open("a") as file:
        file.write("see,outdoor,\n")
    result = CliRunner().invoke(app, ["pack", str(scenes), str(tmp_path / "packed"), "--processes", "1"])
    assert isinstance(result.exception, DataError)
    assert f"{scenes}/places.csv, line 4: class `see` is not in the data set" in str(result.exception)


def test_verify_lists_what_is_wrong_and_fails(scenes: Path, tmp_path: Path) -> None:
    run("pack", scenes, tmp_path, "--split", "val", "--processes", 1)
    (tmp_path / "000000.tar").write_bytes(b"damaged")
    lines = run("verify", tmp_path, "--processes", 1, code=1)
    assert lines[0].startswith("000000.tar: 7 bytes, ")


def test_pack_tells_what_it_left_out(scenes: Path, tmp_path: Path) -> None:
    beach = scenes / "train" / "beach"
    (beach / "again.jpg").write_bytes((beach / "00000.jpg").read_bytes())
    (scenes / "val" / "city" / "seen.jpg").write_bytes((beach / "00001.jpg").read_bytes())
    result = CliRunner().invoke(app, ["pack", str(scenes), str(tmp_path / "packed"), "--processes", "1"])
    assert f"left out: 1 duplicate (listed in {tmp_path}/packed/train/problems.jsonl)" in result.output
    assert "warning: 1 images stand in train too" in result.output


def test_help_imports_nothing_heavy() -> None:
    script = "import sys; import scenerec.commands.data; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert not {"numpy", "PIL", "pydantic", "boto3", "ray"} & set(modules.stdout.split())
