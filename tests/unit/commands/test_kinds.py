"""A kind of job that is added in two places, config.file.KINDS and kinds.KINDS, is one for every command."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from cluster.working_dir import copy_packages
from scenerec.cli import app
from scenerec.commands.kinds import KINDS, FileKind, job_kind
from scenerec.commands.screen.live import RunBar, tell
from scenerec.commands.status import newest
from scenerec.config import file
from scenerec.config.job import JobConfig
from scenerec.job_log import EpochSummary, Progress, format_line
from tests.patience import PATIENCE_S
from tests.toy_kind import TOY, ToyConfig

TEXT = "kind: toy\nname: first\ncount_to: 3\noutput: {output}\n"


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a job of the toy kind, which is known; no cluster is."""
    monkeypatch.setenv("SCENEREC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setitem(file.KINDS, "toy", ToyConfig)
    monkeypatch.setitem(KINDS, "toy", TOY)
    (tmp_path / "toy.yaml").write_text(TEXT.format(output=tmp_path / "runs"))
    return tmp_path / "toy.yaml"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_its_file_is_read_checked_and_described(toy: Path) -> None:
    assert json.loads(run("validate", toy, "--set", "count_to=5", "--json").stdout)["count_to"] == 5
    refused = run("submit", toy, "--set", "count=5", "--dry-run")
    assert (refused.exit_code, refused.stderr) == (
        2,
        "error: --set count=5: count: unknown key; did you mean `count_to`?\n",
    )
    assert json.loads(run("schema", "--kind", "toy").stdout)["properties"]["count_to"]["minimum"] == 1


def test_submit_plans_it(toy: Path, tmp_path: Path) -> None:
    assert run("submit", toy, "--dry-run").stdout == "counts    to 3\n"
    plan = json.loads(run("submit", toy, "--dry-run", "--json").stdout)
    assert plan == {"run_url": f"{tmp_path}/runs/first", "count_to": 3}
    assert "belongs to a search" in run("submit", toy, "--dry-run", "--retrain").stderr


def test_its_run_is_resumed_from_its_folder(toy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "first"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(toy.read_text())
    shown = run("submit", "--resume", folder, "--set", "count_to=9", "--dry-run")
    assert (shown.exit_code, shown.stdout) == (0, "counts    to 9\n")


def test_its_job_is_shown_as_it_wants(toy: Path) -> None:
    command = [sys.executable, "-m", TOY.module, str(toy)]
    log = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout
    kind, output = job_kind("toy"), io.StringIO()
    console = Console(file=output, force_terminal=True, width=80, color_system=None, _environ={"TERM": "xterm"})
    story = tell(log.splitlines(), console, kind.view)
    assert story.result == {"counted_to": 3}
    kind.show_result(story.result, console)
    assert output.getvalue().splitlines() == ["counting to 3", "|", "||", "|||", "counted to 3"]
    news = newest(log + format_line(EpochSummary(1, 1, 1, {"val_loss": 1}, 1, 1)), kind.reports)
    assert list(news) == ["number", "result"]
    assert isinstance(number := news["number"], Progress) and number.step == 3


def test_every_kind_of_file_that_is_submitted_has_a_job(tmp_path: Path) -> None:
    """The two tables agree, and a job's module is among the code that it brings along."""
    submitted = {name: config for name, config in file.KINDS.items() if issubclass(config, JobConfig)}
    assert submitted.keys() == {kind.name for kind in KINDS.values() if isinstance(kind, FileKind)}
    assert all(config.model_fields["kind"].annotation is not str for config in submitted.values())
    copy_packages(tmp_path)
    for kind in KINDS.values():
        assert (tmp_path / f"{kind.module.replace('.', '/')}.py").is_file()


def test_a_job_of_another_versions_kind_is_shown_all_the_same() -> None:
    assert job_kind("of-tomorrow").view is RunBar
