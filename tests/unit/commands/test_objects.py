import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from scenerec.cli import app
from scenerec.storage import ObjectInfo, open_storage
from scenerec.storage.copy import copy_object, copy_order


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run with one checkpoint."""
    for name in ("result.json", "metrics.jsonl", "checkpoints/step-1/state.json", "checkpoints/step-1/z.safetensors"):
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_bytes(name.encode() * 100)
    return tmp_path / "run"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_listing_has_one_level_or_all(run_folder: Path) -> None:
    assert run("ls", run_folder).output.splitlines() == [
        "    6.1 kB  checkpoints/",
        "    1.3 kB  metrics.jsonl",
        "    1.1 kB  result.json",
    ]
    assert [each["key"] for each in json.loads(run("ls", "-r", f"{run_folder}/checkpoints", "--json").output)] == [
        "step-1/state.json",
        "step-1/z.safetensors",
    ]
    assert run("ls", run_folder / "result.json").output == "    1.1 kB  result.json\n"


def test_a_folder_is_copied_whole(run_folder: Path, tmp_path: Path) -> None:
    copied = run("cp", f"{run_folder}/", tmp_path / "copy")
    assert copied.output == f"{tmp_path}/copy: 4 object(s), 8.5 kB\n"
    assert content(tmp_path / "copy") == content(run_folder)


@pytest.mark.parametrize(("destination", "place"), [("elsewhere/", "elsewhere/result.json"), ("r.json", "r.json")])
def test_an_object_is_copied_into_a_folder_or_to_a_name(
    run_folder: Path, tmp_path: Path, destination: str, place: str
) -> None:
    done = json.loads(run("cp", run_folder / "result.json", f"{tmp_path}/{destination}", "--json").output)
    assert done == {"destination": f"{tmp_path}/{place}", "objects": 1, "size_bytes": 1100}
    assert (tmp_path / place).read_bytes() == (run_folder / "result.json").read_bytes()


def test_an_object_is_copied_into_a_folder_that_is_there(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    assert run("cp", run_folder / "result.json", tmp_path / "there").exit_code == 0
    assert (tmp_path / "there" / "result.json").exists()


def test_nothing_is_overwritten_unless_that_is_asked(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "metrics.jsonl").write_text("mine")
    refused = run("cp", run_folder, tmp_path / "copy")
    assert refused.exit_code == 2
    assert "copy/metrics.jsonl: is there already" in refused.output
    assert content(tmp_path / "copy") == {"metrics.jsonl": b"mine"}
    assert run("cp", run_folder, tmp_path / "copy", "--overwrite").exit_code == 0
    assert content(tmp_path / "copy") == content(run_folder)


@pytest.mark.parametrize("command", [("ls",), ("cp",)])
def test_what_is_not_there_is_said(tmp_path: Path, command: tuple[str]) -> None:
    refused = run(*command, tmp_path / "nothing", *([tmp_path / "copy"] if command == ("cp",) else []))
    assert refused.exit_code == 3
    assert "nothing: nothing is there: `scenerec ls" in refused.output


def test_a_folder_is_not_copied_onto_itself(run_folder: Path) -> None:
    refused = run("cp", run_folder, run_folder, "--overwrite")
    assert refused.exit_code == 2
    assert "is where SOURCE is" in refused.output


def test_what_makes_a_folder_valid_goes_last() -> None:
    keys = ["a/bundle.json", "a/model.onnx", "manifest.json", "state.json/x", "z"]
    ordered = [info.key for info in copy_order(ObjectInfo(key, 1) for key in keys)]
    assert ordered == ["a/model.onnx", "state.json/x", "z", "a/bundle.json", "manifest.json"]


def test_a_large_object_is_copied_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scenerec.storage.copy._PART_BYTES", 7)
    (tmp_path / "large").write_bytes(bytes(range(50)))
    storage = open_storage(str(tmp_path))
    copy_object(storage, ObjectInfo("large", 50), storage, "copy")
    assert (tmp_path / "copy").read_bytes() == bytes(range(50))
