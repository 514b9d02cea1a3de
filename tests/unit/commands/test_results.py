"""Where results go: a place that cannot be written to is named before the work, by every command that writes."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from scenerec.cli import app
from scenerec.commands.lazy import LazyCommand
from scenerec.config.tune import TuneConfig
from scenerec.inference.evaluation.evaluator import examine_here
from scenerec.search.trial_store import SearchFolder
from tests.colour_set import CLASSES, pack_colours
from tests.tiny_bundle import make_tiny_bundle
from tests.tiny_search import invented, search_document
from tests.unit.commands.test_runs import make_run
from tests.unit.test_cli import EVERY_COMMAND
from tests.web import Answer, WebServer

FILES = {
    ("evaluate", "--report"): ["evaluate", "BUNDLE", "--data", "SET", "--report", "PLACE"],
    ("bench", "--output"): ["bench", "BUNDLE", "--batch", "1", "--threads", "1", "--seconds", "0.1", "-o", "PLACE"],
    ("tune show", "--report"): ["tune", "show", "SEARCH", "--report", "PLACE"],
    ("compare", "--report"): ["compare", "RUN", "--report", "PLACE"],
    ("data check", "--report"): ["data", "check", "PICTURES", "--nested", "path", "--report", "PLACE"],
    ("data check", "--csv"): ["data", "check", "PICTURES", "--nested", "path", "--csv", "PLACE"],
    ("init", "--file"): ["init", "PICTURES", "--nested", "path", "--file", "PLACE"],
    ("data show", "--sheet"): ["data", "show", "SET", "--sheet", "PLACE"],
}
FOLDERS: dict[tuple[str, str], list[str]] = {
    ("evaluate", "--output"): ["evaluate", "BUNDLE", "--data", "SET", "--output", "PLACE"],
    ("export", "--output"): ["export", "no-such-run", "--output", "PLACE"],
    ("convert", "dest"): ["convert", "no-such-run", "PLACE", "--to", "checkpoint"],
    ("predict", "--explain"): ["predict", "PICTURE", "--model", "BUNDLE", "--explain", "PLACE"],
    ("predict", "--output"): ["predict", "PICTURE", "--model", "BUNDLE", "--format", "csv", "--output", "PLACE"],
    ("train", "--output"): ["train", "PICTURES", "--nested", "path", "--yes", "--output", "PLACE"],
    ("data pack", "dest"): ["data", "pack", "PICTURES", "PLACE", "--nested", "path"],
    ("data adopt", "--output"): ["data", "adopt", "SET", "--labels", "cls", "--output", "PLACE"],
    ("data synthetic", "folder"): ["data", "synthetic", "PLACE"],
    ("serve key", "--file"): ["serve", "key", "me", "--file", "PLACE/keys.yaml"],
    ("cluster serve-env", "--folder"): ["cluster", "serve-env", "--folder", "PLACE"],
    ("cluster monitoring", "folder"): ["cluster", "monitoring", "PLACE", "--address", "http://10.0.0.1:8265"],
    ("registry push", "--registry"): ["registry", "push", "BUNDLE", "--registry", "PLACE"],
    ("cp", "destination"): ["cp", "SET", "PLACE"],
}
OF_THIS_MACHINE = ("predict", "train", "data synthetic", "cluster serve-env", "cluster monitoring")
NAMES = ("output", "report", "csv", "sheet", "explain", "dest", "destination", "folder")
NAMED_OTHERWISE = (("serve key", "file"), ("init", "file"), ("registry push", "registry"))
IN_BUCKETS = [key for key in FOLDERS if key[0] not in OF_THIS_MACHINE]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the commands work on."""
    folder = tmp_path_factory.mktemp("given")
    Image.new("RGB", (20, 20), (200, 9, 9)).save(folder / "red.png")
    config = TuneConfig.model_validate(search_document(str(folder / "runs")))
    search = SearchFolder(config.run_url)
    search.write_config(config)
    search.write(invented(0, 0.1, 0.3, point={"model.arch": "resnet18", "optimize.lr": 0.01}))
    make_run(folder / "trained", "photos", 0.1, [0.5, 0.75])
    return {
        "BUNDLE": make_tiny_bundle(folder / "bundle", labels=CLASSES).url,
        "SET": pack_colours(folder / "colours"),
        "PICTURES": str(folder / "colours/images"),
        "PICTURE": str(folder / "red.png"),
        "SEARCH": search.url,
        "RUN": str(folder / "trained" / "photos"),
    }


def run(arguments: list[str], given: dict[str, str], place: str) -> Result:
    words = [given.get(word, word.replace("PLACE", place)) for word in arguments]
    return CliRunner().invoke(app, words)


def refused(shown: Result, place: str, code: int = 3) -> str:
    """The one line, without any result."""
    assert (shown.exit_code, shown.stdout) == (code, ""), shown.output
    (line,) = shown.stderr.replace("  start-up", "").splitlines()
    assert line.startswith("error: ") and place in line
    return line


def test_every_option_that_names_a_place_is_tried() -> None:
    found = set()
    for path, command in EVERY_COMMAND.items():
        loaded = command.load() if isinstance(command, LazyCommand) else command
        for parameter in getattr(loaded, "params", []):
            if parameter.name in ("output", "report", "csv", "sheet", "explain", "dest", "destination", "folder") or (
                (" ".join(path), parameter.name)
                in (("serve key", "file"), ("init", "file"), ("registry push", "registry"))
            ):
                found.add((" ".join(path), parameter.opts[0]))
    found -= {("data add", "dest"), ("init", "--output")}  # a set that is there already; what training will write
    assert found == {*FILES, *FOLDERS}


@pytest.mark.parametrize("command", FILES, ids=" ".join)
def test_a_file_that_cannot_be_written_is_named_before_the_work(
    command: tuple[str, str], given: dict[str, str], tmp_path: Path
) -> None:
    words, option = FILES[command], command[1]
    (tmp_path / "file").write_text("")
    for place, code, reason in (
        (f"{tmp_path}/missing/file", 2, f"there is no folder {tmp_path}/missing"),
        (f"{tmp_path}/file/file", 2, f"there is no folder {tmp_path}/file"),
        (str(tmp_path), 2, "is a folder: name a file in it"),
        ("s3://bucket/file", 2, "must be on this machine: copy it afterwards (scenerec cp)"),
        ("/dev/full", 3, "cannot be written: No space left on device"),
        ("/proc/file", 3, "cannot be written: No such file or directory"),
    ):
        assert refused(run(words, given, place), place, code) == f"error: {option} {place}: {reason}"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("command", FOLDERS, ids=" ".join)
def test_a_folder_that_cannot_be_written_is_named_before_the_work(
    command: tuple[str, str], given: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for place in (f"{tmp_path}/file/folder", "/proc/folder", "/dev/full/folder"):
        refused(run(FOLDERS[command], given, place), place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("command", IN_BUCKETS, ids=" ".join)
@pytest.mark.parametrize(("code", "status", "reason"), [
    ("NoSuchBucket", 404, "there is no bucket `bucket`"),
    pytest.param("AccessDenied", 403, "refuses these credentials", marks=pytest.mark.matrix),
])  # fmt: skip
def test_a_bucket_that_cannot_be_written_is_named_before_the_work(
    command: tuple[str, str],
    code: str,
    status: int,
    reason: str,
    given: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "key")
    error = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    with WebServer() as server:
        server.answers = defaultdict(lambda: [Answer(error, status)])
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        assert reason in refused(run(FOLDERS[command], given, "s3://bucket/results"), "s3://bucket/results")


def test_what_was_found_is_shown_although_the_report_fails(
    given: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that fills up meanwhile: here a file takes the folder's place while the model is evaluated."""
    report = tmp_path / "reports/report.html"
    report.parent.mkdir()

    def examine(*arguments: Any) -> Any:
        report.parent.rmdir()
        report.parent.write_text("")
        return examine_here(*arguments)

    monkeypatch.setattr("scenerec.commands.evaluate.examine_here", examine)
    shown = run(["evaluate", "BUNDLE", "--data", "SET", "--report", "PLACE"], given, str(report))
    assert shown.exit_code == 3
    assert "top-1" in shown.stdout
    (line,) = shown.stderr.splitlines()
    assert line.startswith(f"error: {report}: ")


def test_a_place_that_is_fine_is_left_as_it_is(given: dict[str, str], tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("the one before")
    for target, code in (("no-such-run", 6), (given["BUNDLE"], 0)):
        assert report.read_text() == "the one before"
        shown = run(["evaluate", target, "--data", "SET", "--report", "PLACE"], given, str(report))
        assert shown.exit_code == code, shown.output
    assert report.read_text().endswith("</html>\n")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_bundle_is_not_written_over_other_files_nor_lost_to_them(given: dict[str, str], tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle")
    (tmp_path / "bundle/notes.txt").write_text("mine")
    shown = run(["registry", "push", "BUNDLE", "photos", "--registry", "PLACE"], given, f"{tmp_path}/models")
    assert shown.exit_code == 0, shown.output
    with pytest.raises(Exception, match=r"holds notes\.txt, which is of no bundle: export to another place"):
        make_tiny_bundle(tmp_path / "bundle")
    assert run(["predict", "PICTURE", "--model", "PLACE"], given, bundle.url).exit_code == 0


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (
            ["evaluate", "FILE", "--data", "SET"],
            6,
            "FILE: neither a run's folder (OUTPUT/NAME) with checkpoints, nor a ",
        ),
        (["export", "FILE"], 6, "FILE: neither a run's folder (OUTPUT/NAME) with checkpoints, nor a checkpoint"),
        (["convert", "FILE", "x.keras"], 6, "FILE: no weights are there: name a .safetensors, "),
        (["bench", "FILE"], 8, "FILE: not a bundle (bundle.json is missing)"),
        (["predict", "PICTURE", "--model", "FILE"], 8, "FILE: not a bundle (bundle.json is missing)"),
        (["data", "show", "FILE"], 4, "FILE: no packed data set here (manifest.json is missing)"),
        (["tune", "show", "FILE"], 5, "FILE: has no config.yaml, so it is no search's folder"),
        (["evaluate", "", "--data", "SET"], 2, "TARGET: is empty: is a variable of the shell not set?"),
        (["data", "pack", "PICTURES", ""], 2, "DEST: is empty: is a variable of the shell not set?"),
        (
            ["data", "pack", "s3://bucket/photos", "x"],
            2,
            "SOURCE s3://bucket/photos: must be on this machine",
        ),
        (["data", "synthetic", "s3://bucket/x"], 2, "FOLDER s3://bucket/x: must be on this machine"),
        (
            ["validate", "http://host/job.yaml"],
            2,
            "http:/host/job.yaml: cannot be read: fetch it to this machine first",
        ),
        (
            ["evaluate", "http://host/run", "--data", "SET"],
            2,
            "TARGET http://host/run: only s3:// addresses and local ",
        ),
        (
            ["registry", "list", "--registry", "http://host"],
            2,
            "--registry http://host: only s3:// addresses and local ",
        ),
        (
            ["predict", "PICTURE", "--model", "http://host/b"],
            2,
            "--model http://host/b: only s3:// addresses and local ",
        ),
    ],
)
def test_what_is_of_another_kind_is_named_as_it_was_typed(
    words: list[str], code: int, line: str, given: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("notes")
    shown = run(words, {**given, "FILE": str(file)}, "")
    assert (shown.exit_code, shown.stdout) == (code, ""), shown.output
    assert shown.stderr.splitlines()[-1].startswith(f"error: {line.replace('FILE', str(file))}")
