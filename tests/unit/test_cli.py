import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.core import TyperGroup
from typer.testing import CliRunner, Result

from scenerec import __version__, errors
from scenerec.cli import app
from scenerec.client.errors import EndpointError
from scenerec.commands.lazy import LazyCommand
from tests.patience import PATIENCE_S

JOB = """\
kind: train
name: first
framework: torch
data: {train: s3://scenes/train, val: s3://scenes/val}
model: {arch: resnet18}
optimize: {epochs: 2, global_batch_size: 32, lr: 0.1}
output: s3://scenes/runs
"""


@pytest.fixture(autouse=True)
def nothing_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENEREC_HOME", str(tmp_path / "home"))
    for name in ("RAY_ADDRESS", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "train.yaml").write_text(JOB)
    return tmp_path / "train.yaml"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def imported_by(*arguments: str, among: list[str]) -> tuple[int, str, list[str]]:
    """Runs a command in a process of its own; its exit code, what it prints, and what of the names it has imported."""
    program = (
        f"import sys; sys.argv = ['scenerec', *{arguments}]\n"
        "from scenerec.cli import main\n"
        "try: main()\n"
        f"finally: print('imported', *(name for name in {among} if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    shown, _, names = done.stdout.rpartition("imported")
    return done.returncode, shown, names.split()


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    heavy = ["torch", "tensorflow", "keras", "ray", "boto3", "pyarrow", "PIL", "numpy", "pydantic", "psutil", "asyncio"]
    exit_code, shown, imported = imported_by("--help", among=[*heavy, "requests", "yaml"])
    assert (exit_code, imported) == (0, [])
    assert "submit" in shown


@pytest.mark.slow
@pytest.mark.parametrize("command", ["list", "status", "logs", "stop"])
def test_who_only_asks_the_cluster_does_not_wait_for_ray(command: str) -> None:
    arguments = [command, *(["job"] if command in ("logs", "stop") else []), "--address", "http://127.0.0.1:1"]
    assert imported_by(*arguments, among=["requests", "ray", "boto3"]) == (7, "", ["requests"])


def commands(group: TyperGroup | None = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its path; those that are imported when they are needed as they stand in the listing."""
    for name, command in (group or typer.main.get_command(app)).commands.items():  # type: ignore[attr-defined]
        if isinstance(command, TyperGroup):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command
            if isinstance(command, LazyCommand) and isinstance(loaded := command.load(), TyperGroup):
                yield from commands(loaded, (*path, name))


EVERY_COMMAND = dict(commands())


@pytest.mark.parametrize("path", EVERY_COMMAND, ids=" ".join)
def test_every_command_explains_itself_with_an_example(path: tuple[str, ...]) -> None:
    shown = run(*path, "--help")
    assert shown.exit_code == 0, shown.output
    assert EVERY_COMMAND[path].help
    assert "Example" in shown.stdout


def test_a_listing_has_the_first_line_of_each_command() -> None:
    lazy = {path: command for path, command in EVERY_COMMAND.items() if isinstance(command, LazyCommand)}
    assert len(lazy) > 30
    for path, command in lazy.items():
        loaded = command.load()
        assert loaded.name == path[-1] or isinstance(loaded, TyperGroup)
        assert command.help == str(loaded.help).partition("\n")[0], path


@pytest.mark.slow
def test_no_help_imports_anything_that_takes_seconds() -> None:
    heavy = ["torch", "torchvision", "tensorflow", "keras", "ray", "onnx", "onnxruntime", "boto3", "pyarrow", "optuna"]
    program = (
        "import sys\n"
        "from tests.unit.test_cli import EVERY_COMMAND\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_the_exit_codes_are_those_that_are_documented() -> None:
    kinds = [*vars(errors).values(), EndpointError]
    codes = {kind.__name__: kind.exit_code for kind in kinds if isinstance(kind, type)}
    documented = re.findall(r"^ +(\d+) +(\w+Error) ", str(errors.__doc__), re.MULTILINE)
    assert {name: int(code) for code, name in documented} == codes
    assert [int(code) for code, _ in documented] == sorted(codes.values())
    shown = " ".join(run("--help").stdout.split())
    assert {int(code) for code in re.findall(r"\b(\d+) [a-z]", shown.partition("Exit codes:")[2])} >= set(
        codes.values()
    )


def test_version() -> None:
    assert run("--version").stdout.strip() == f"scenerec {__version__}"


def test_an_unknown_command_is_a_usage_error() -> None:
    assert run("sumbit").exit_code == 2


def test_validate_prints_the_whole_job(file: Path) -> None:
    shown = run("validate", file, "--set", "optimize.lr=0.5", "--json")
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)["optimize"]["lr"] == 0.5
    assert "global_batch_size: 32" in run("validate", file).stdout


def test_every_problem_of_a_file_is_a_line_on_stderr(file: Path) -> None:
    shown = run("validate", file, "--set", "optimize.lr=x", "--set", "optimize.epochs=0")
    assert shown.exit_code == 2
    assert shown.stdout == ""
    assert [line.split(": ")[:2] for line in shown.stderr.splitlines()] == [
        ["error", "--set optimize.epochs=0"],
        ["error", "--set optimize.lr=x"],
    ]


def test_schema_is_json_schema() -> None:
    assert json.loads(run("schema").stdout)["properties"]["kind"]


@pytest.mark.parametrize("arguments", [["list"], ["status"], ["logs", "job"], ["stop", "job"], ["cluster", "env"]])
def test_without_a_cluster_the_remedy_is_told(arguments: list[str]) -> None:
    shown = run(*arguments)
    assert shown.exit_code == 7
    assert len(shown.stderr.splitlines()) == 1
    assert "scenerec cluster up" in shown.stderr


def test_cluster_status_and_down_when_nothing_runs(tmp_path: Path) -> None:
    assert run("cluster", "status").exit_code == 1
    assert json.loads(run("cluster", "status", "--json").stdout) == {"up": False}
    named = run("cluster", "status", "--address", "http://127.0.0.1:1")
    assert (named.exit_code, "http://127.0.0.1:1: cannot be reached" in named.output) == (7, True)
    assert run("cluster", "down").stdout.strip() == "nothing was running"
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("bucket", ["Models", "my_models", "ab", "-models", "s3://models"])
def test_a_bucket_that_no_store_takes_is_refused_before_anything_starts(tmp_path: Path, bucket: str) -> None:
    shown = run("cluster", "up", "--bucket", bucket)
    assert (shown.exit_code, len(shown.stderr.splitlines())) == (2, 1)
    assert f"--bucket {bucket}: must be" in shown.stderr and not (tmp_path / "home").exists()


def test_a_folder_that_is_too_long_for_the_proxys_sockets_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 33)
    shown = run("cluster", "serve-env", "--folder", folder)
    assert (shown.exit_code, len(shown.stderr.splitlines())) == (2, 1)
    assert "at most 32 characters" in shown.stderr and not folder.exists()


@pytest.mark.parametrize("address", ["127.0.0.1:6379", "ray://head:10001", "head", "ftp://head"])
def test_an_address_that_is_no_dashboard_is_refused_with_a_hint(address: str) -> None:
    shown = run("list", "--address", address)
    assert shown.exit_code == 7
    assert "http://" in shown.stderr
    assert ":8265" in shown.stderr


def test_an_unreachable_cluster_is_one_line(file: Path) -> None:
    for arguments in (["list"], ["status"], ["submit", file], ["logs", "-f", "x"]):
        shown = run(*arguments, "--address", "http://127.0.0.1:1")
        assert shown.exit_code in (3, 7)
        assert len(shown.stderr.splitlines()) == 1


def test_interrupted_is_130(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("scenerec.commands.validate.parse_any", interrupt)
    shown = run("validate", file)
    assert shown.exit_code == 130
    assert shown.stderr.strip() == "interrupted"


def test_a_dry_run_shows_the_plan_and_starts_nothing(tmp_path: Path, file: Path) -> None:
    scenes = tmp_path / "scenes"
    assert run("data", "synthetic", scenes, "--train-per-class", 10, "--val-per-class", 4, "--size", 32).exit_code == 0
    assert run("data", "pack", scenes, tmp_path / "packed").exit_code == 0
    local = [
        *("--set", f"data.train={tmp_path}/packed/train", "--set", f"data.val={tmp_path}/packed/val"),
        *("--set", f"output={tmp_path}/runs", "--set", "optimize.global_batch_size=4"),
    ]
    shown = run("submit", file, "--dry-run", "--json", *local)
    assert shown.exit_code == 0, shown.stderr
    plan = json.loads(shown.stdout)
    assert (plan["run_url"], plan["resumes_at"]) == (f"{tmp_path}/runs/first", None)
    assert plan["total_steps"] == 2 * (plan["train_samples"] // 4)
    assert "resnet18" in run("submit", file, "--dry-run", *local).stdout
    same = run("submit", file, "--dry-run", *local, "--set", f"data.val={tmp_path}/packed/train")
    assert same.exit_code == 2
    assert same.stderr.startswith(f"error: data.val: {tmp_path}/packed/train is the same set as data.train: ")
    assert not (tmp_path / "home").exists()
