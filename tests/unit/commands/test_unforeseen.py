"""What nobody has foreseen is one line and a file; and what a shell does with the streams is no error."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from scenerec.cli import app
from tests.patience import PATIENCE_S

MEETS = "error: scenerec data show: met what nobody has foreseen (ZeroDivisionError: division by zero); "


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCENEREC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        1 / 0  # noqa: B018

    monkeypatch.setattr("scenerec.commands.data.show.open_packed", fail)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.usefixtures("broken")
def test_it_is_a_line_and_a_file(home: Path) -> None:
    shown = run("data", "show", "packed set")
    assert (shown.exit_code, shown.stdout) == (1, "")
    (line,) = shown.stderr.splitlines()
    (file,) = home.iterdir()
    assert line == f"{MEETS}the traceback is in {file}: please send it with a report"
    report = file.read_text()
    assert report.startswith("scenerec data show 'packed set'\nscenerec ")
    assert "1 / 0" in report and "ZeroDivisionError" in report
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("equals", [False, True])
def test_the_file_says_neither_where_a_camera_stands_nor_its_password(
    equals: bool, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        1 / 0  # noqa: B018

    monkeypatch.setattr("scenerec.commands.watch.Watched", fail)
    options = {"--latitude": "52.5219", "--longitude": "13.4132", "--time": "2024-06-21"}
    place = (
        [f"{name}={value}" for name, value in options.items()] if equals else [w for o in options.items() for w in o]
    )
    shown = run("watch", "bundle", *place, "--stream", "rtsp://me:hush@door.local/live")
    assert shown.exit_code == 1
    (file,) = home.iterdir()
    (typed, *_) = file.read_text().splitlines()
    assert "rtsp://door.local/live" in typed
    for private in (*options.values(), "hush"):
        assert private not in file.read_text() + shown.stderr


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("arguments", [("--verbose", "data", "show", "x"), ("data", "show", "x")])
def test_verbose_shows_the_traceback(arguments: tuple[str, ...]) -> None:
    shown = run(*arguments)
    assert ("Traceback" in shown.stderr) == ("--verbose" in arguments)
    assert shown.stderr.splitlines()[-1].startswith(MEETS)


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("place", ["/dev/full/home", "/proc/home", "FILE/home"])
def test_a_folder_that_takes_no_file_is_passed_over(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SCENEREC_HOME", place.replace("FILE", str(tmp_path / "file")))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (line,) = run("data", "show", "x").stderr.splitlines()
    (file,) = tmp_path.glob("*.txt")
    assert str(file) in line

    monkeypatch.setattr("tempfile.tempdir", "/proc")
    lines = run("data", "show", "x").stderr.splitlines()
    assert lines[0] == f"{MEETS}please report this:" and lines[-1].startswith("ZeroDivisionError")


@pytest.mark.usefixtures("broken")
def test_keys_are_left_out_of_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scenerec.commands.predict._predict_by", lambda *_: 1 / 0)
    for key in (["--api-key", "secret-1"], ["--api-key=secret-2"]):
        shown = run("predict", "x.jpg", "--model", "m", "--endpoint", "http://127.0.0.1:1", *key)
        assert "nobody has foreseen" in shown.stderr
    reports = [file.read_text() for file in home.iterdir()]
    assert len(reports) == 2
    assert all("--api-key" in report and "secret" not in report for report in reports)


def test_an_error_of_the_file_system_names_the_file(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scenerec.commands.data.show.open_packed", lambda _: (tmp_path / "gone").read_bytes())
    shown = run("data", "show", "x")
    (file,) = home.iterdir()
    reason = f"No such file or directory (scenerec data show; the traceback is in {file})"
    assert (shown.exit_code, shown.stderr) == (3, f"error: {tmp_path}/gone: {reason}\n")


def shell(command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Runs a line of bash, in which `scenerec` is this one."""
    script = f'set -o pipefail; scenerec() {{ "{sys.executable}" -m scenerec "$@"; }}; {command}'
    variables = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), **environment}
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=PATIENCE_S, check=False, env=variables
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("scenerec schema > /dev/full", 3, "error: No space left on device: standard output\n"),
        ("scenerec models > /dev/full", 3, "error: No space left on device: standard output\n"),
        ("scenerec schema > /dev/full 2>&-", 3, ""),
        ("scenerec schema >&-", 0, ""),
        ("scenerec schema > /dev/null 2>&- <&-", 0, ""),
        ("scenerec models | head -1 > /dev/null", None, ""),
        # The reader has gone before anything is written.
        ("mkfifo gone; { read < gone; scenerec models --json; } | { exec <&-; echo > gone; }", 1, ""),
        (
            "mkdir gone; cd gone; rmdir ../gone; scenerec data pack a b",
            3,
            "error: the folder that you are in is gone: ",
        ),
    ],
)
def test_streams_and_folders_as_a_shell_leaves_them(command: str, code: int | None, said: str, tmp_path: Path) -> None:
    done = shell(f"cd {tmp_path}; {command}", TMPDIR="/tmp")
    assert code is None or done.returncode == code
    assert done.stderr.startswith(said) and (said or not done.stderr)


def test_a_closed_stream_is_not_taken_by_a_file(tmp_path: Path) -> None:
    """Else the first file that is opened would get what is printed."""
    done = shell(f"cd {tmp_path}; scenerec data synthetic scenes --classes 2 --train-per-class 1 --val-per-class 1 >&-")
    assert done.returncode == 0, done.stderr
    pictures = list(tmp_path.glob("scenes/*/*/*.jpg"))
    assert len(pictures) == 4 and all(picture.read_bytes()[:2] == b"\xff\xd8" for picture in pictures)


@pytest.mark.slow
def test_an_old_encoding_of_the_terminal_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "größe").mkdir()
    done = shell(f"cd {tmp_path}; scenerec data show größe; printf '\\xff' > bad; scenerec data show $'caf\\xe9'",
                 PYTHONIOENCODING="ascii")  # fmt: skip
    lines = done.stderr.splitlines()
    assert done.returncode == 4 and len(lines) == 2
    assert "gr\\xf6\\xdfe: no packed data set here" in lines[0]
    assert "caf\\udce9: no packed data set here" in lines[1]


ODD_TERMINALS = ({"COLUMNS": "20"}, {"COLUMNS": "1"}, {"NO_COLOR": "1"}, {"LC_ALL": "C"})


@pytest.mark.parametrize("environment", [
    {"COLUMNS": "1", "LC_ALL": "C"},
    *(pytest.param(each, marks=pytest.mark.matrix) for each in ODD_TERMINALS),
])  # fmt: skip
def test_odd_terminals_show_all(environment: dict[str, str]) -> None:
    done = shell("unset HOME; scenerec models show resnet18; scenerec --help", **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "  arch: resnet18\n" in done.stdout
    assert "\x1b" not in done.stdout
