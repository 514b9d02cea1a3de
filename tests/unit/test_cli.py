import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from scenerec import __version__
from scenerec.cli import app

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


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    heavy = ["torch", "tensorflow", "keras", "ray", "boto3", "pyarrow", "PIL", "numpy", "pydantic", "psutil"]
    program = (
        "import sys; sys.argv = ['scenerec', '--help']\n"
        "from scenerec.cli import main\n"
        "try: main()\n"
        f"finally: print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    user_s = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    assert done.returncode == 0
    assert "submit" in done.stdout
    assert done.stderr.strip() == "[]"
    assert user_s < 0.5, "CPU time, which a busy machine does not lengthen"


def test_every_command_explains_itself_with_an_example() -> None:
    import typer.main

    pending = [([], typer.main.get_command(app))]
    leaves = 0
    while pending:
        path, command = pending.pop()
        if children := getattr(command, "commands", None):
            pending += [([*path, name], child) for name, child in children.items()]
            continue
        leaves += 1
        shown = run(*path, "--help")
        assert shown.exit_code == 0
        assert command.help
        assert "Example" in shown.stdout, path
    assert leaves > 10


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
    assert run("cluster", "down").stdout.strip() == "nothing was running"
    assert not (tmp_path / "home").exists()


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

    monkeypatch.setattr("scenerec.config.file.parse_any", interrupt)
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
    assert not (tmp_path / "home").exists()
