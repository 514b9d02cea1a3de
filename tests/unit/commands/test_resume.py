"""`scenerec submit --resume`: which run is meant, and what is refused. Nothing is started."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from scenerec.checkpoint import Checkpoint, LearnerState, RunState, save_checkpoint
from scenerec.cli import app
from scenerec.config.train import TrainConfig
from scenerec.data.packed_set import open_set
from scenerec.training.preflight import plan_job
from scenerec.training.run_folder import RunFolder, run_identity


@pytest.fixture(autouse=True)
def nothing_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENEREC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def interrupted(make_config: Any) -> TrainConfig:
    """A run of twelve steps whose newest checkpoint is that of step 4."""
    config = make_config()
    folder, plan = RunFolder(config.run_url), plan_job(config)
    fingerprint = open_set(config.data.train).manifest.fingerprint
    identity = run_identity(config, plan.lanes, plan.classes, fingerprint)
    run = RunState(0, 4, 4, identity, {}, [], {}, config.model_dump(mode="json"), "torch")
    folder.write_config(config)
    save_checkpoint(folder.checkpoints, Checkpoint(run, LearnerState({"w": np.zeros(1, np.float32)}, {})))
    return config


def submit(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["submit", *map(str, arguments)])


def refused(shown: Result, exit_code: int) -> str:
    assert (shown.exit_code, shown.stdout) == (exit_code, "")
    (line,) = shown.stderr.splitlines()
    return line


def test_the_job_is_the_runs_own_in_the_other_framework(interrupted: TrainConfig) -> None:
    shown = submit("--resume", f"{interrupted.run_url}/", "--set", "framework=tensorflow", "--dry-run", "--json")
    assert shown.exit_code == 0, shown.stderr
    plan = json.loads(shown.stdout)
    assert (plan["run_url"], plan["framework"]) == (interrupted.run_url, "tensorflow")
    assert (plan["resumes_at"], plan["total_steps"]) == (4, 12)


def test_a_folder_may_be_named_from_where_one_is(interrupted: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(interrupted.output)
    assert "resumes   after step 4 of 12" in submit("--resume", interrupted.name, "--dry-run").stdout


def test_either_a_file_or_a_run(interrupted: TrainConfig) -> None:
    assert "give its FILE" in refused(submit(), 2)
    assert "leave out FILE" in refused(submit("train.yaml", "--resume", interrupted.run_url), 2)
    assert "leave out one of them" in refused(submit("--resume", interrupted.run_url, "--restart"), 2)


def test_a_run_that_cannot_go_on_is_refused(interrupted: TrainConfig, tmp_path: Path) -> None:
    again = partial(submit, "--dry-run", "--resume", interrupted.run_url)
    assert "has no config.yaml" in refused(submit("--resume", tmp_path, "--dry-run"), 5)
    assert "another optimize.seed (0, now 1)" in refused(again("--set", "optimize.seed=1"), 5)
    assert "without --set of name and output" in refused(again("--set", "name=other"), 2)
    assert "--set optimize.lr=x: optimize.lr" in refused(again("--set", "optimize.lr=x"), 2)
    folder = RunFolder(interrupted.run_url)
    folder.write_result({"last": {"epoch": 2}, "best": {"val_top1": 0.5}})
    assert "this run is finished (2 epochs" in refused(again(), 5)
    assert again("--set", "optimize.epochs=3").exit_code == 0
    folder.storage.delete("checkpoints/step-000000004/state.json")
    assert "has no checkpoint to go on from" in refused(again(), 5)


def test_a_name_needs_a_cluster_that_knows_it() -> None:
    assert "nightly: no cluster is up that could know a run of this name" in refused(
        submit("--resume", "nightly", "--dry-run"), 7
    )
    assert "$NOWHERE is not set" in refused(submit("--resume", "$NOWHERE/run", "--dry-run"), 2)


def test_a_moved_run_goes_on_where_it_is(interrupted: TrainConfig, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "test"
    moved.parent.mkdir()
    Path(interrupted.run_url).rename(moved)
    assert f"that of {interrupted.run_url}" in refused(submit("--resume", moved, "--dry-run"), 2)
    shown = submit("--resume", moved, "--set", f"output={moved.parent}", "--dry-run")
    assert "resumes   after step 4 of 12" in shown.stdout
