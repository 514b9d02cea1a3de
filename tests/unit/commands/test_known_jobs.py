"""Runs that no cluster knows any more: found by name in the outputs, with their state, their log and the next step."""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cluster.job import Job
from cluster.run_record import RECORD_FILE, RunRecord, log_key, run_environment
from cluster.runs import remember_output
from scenerec.cli import app
from scenerec.commands.ending import next_step, reason
from scenerec.commands.status import newest_run
from scenerec.epoch_metrics import EpochMetrics
from scenerec.job_log import EpochSummary, Failure, Progress, RunResult, format_line
from scenerec.storage import open_storage
from scenerec.training.run_folder import RunFolder
from tests.patience import PATIENCE_S

EPOCH = EpochSummary(2, 2, 0.51239, {"val_loss": 0.4, "val_top1": 0.881, "val_top5": 1.0}, 120.55, 0.01)
LOG = "[note] first\n(Worker pid=9) [note] second\n(raylet pid=7) starting\n(Worker pid=9) [note] third"
RESULT = {"best": {"epoch": 2, "val_top1": 0.881}, "best_checkpoint": "step-000000008"}


@pytest.fixture(autouse=True)
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An output that was submitted to; nothing is up."""
    monkeypatch.setenv("SCENEREC_HOME", str(tmp_path / "home"))
    for name in ("RAY_ADDRESS", "SCENEREC_OUTPUT"):
        monkeypatch.delenv(name, raising=False)
    remember_output(str(tmp_path / "runs"))
    return tmp_path / "runs"


def make_run(output: Path, name: str, status: str, log: str = "", started_s: float = 1e9, **more: Any) -> Job:
    given = {"message": "", "exit_code": 0, "started_s": started_s, "ended_s": started_s + 75, **more}
    job = Job(f"{name}-1", name, f"{output}/{name}", "train", "torch", status, **given)
    folder = open_storage(job.run_url)
    folder.put(RECORD_FILE, RunRecord(job=job).model_dump_json().encode())
    folder.put(log_key(job.id), log.encode())
    return job


def scenerec(*arguments: object, code: int = 0) -> Result:
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    assert done.exit_code == code, done.output
    return done


def test_runs_are_listed_without_their_cluster_the_newest_first(output: Path) -> None:
    make_run(output, "older", "SUCCEEDED")
    make_run(output, "newer", "FAILED", started_s=2e9)
    rows = [line.split() for line in scenerec("list").stdout.splitlines()]
    assert [(row[0], row[1], row[-1]) for row in rows[1:]] == [
        ("newer-1", "FAILED", f"{output}/newer"),
        ("older-1", "SUCCEEDED", f"{output}/older"),
    ]
    listed = json.loads(scenerec("list", "--json").stdout)
    assert [(job["name"], job["duration_s"]) for job in listed] == [("newer", 75), ("older", 75)]


def test_a_named_output_is_looked_into_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path / "team", "theirs", "SUCCEEDED")
    monkeypatch.setenv("SCENEREC_OUTPUT", str(tmp_path / "team"))
    assert "theirs-1  SUCCEEDED" in scenerec("list").stdout


def test_a_run_of_an_earlier_version_is_known_by_its_files(output: Path) -> None:
    folder = open_storage(str(output))
    for name in ("over", "begun"):
        folder.put(f"{name}/config.yaml", b"kind: train\nframework: tensorflow\n")
    folder.put("over/result.json", b"{}")
    folder.put("no-run/data.bin", b"")
    listed = json.loads(scenerec("list", "--json").stdout)
    assert {job["name"]: job["status"] for job in listed} == {"over": "SUCCEEDED", "begun": "UNFINISHED"}
    (row,) = [line.split() for line in scenerec("list").stdout.splitlines() if "SUCCEEDED" in line]
    assert row == ["over", "SUCCEEDED", "-", "-", "tensorflow", f"{output}/over"]


@pytest.mark.parametrize("named", ["{name}", "{name}-1", "{output}/{name}", "{output}/{name}/"])
def test_its_state_is_told_in_words_and_as_json(output: Path, named: str) -> None:
    log = "\n".join(map(format_line, (Progress(2, 2, 3, 4, 99.5, 0.5, 0.01, 12), EPOCH, RunResult(RESULT))))
    make_run(output, "photos", "SUCCEEDED", log)
    shown = scenerec("status", named.format(name="photos", output=output)).stdout
    assert "photos-1  SUCCEEDED" in shown and "1m15s" in shown
    assert "progress  epoch 2/2 step 3/4  99.5 images/s  loss 0.5000  lr 0.01  12s left" in shown
    assert "epoch     2/2  train loss 0.5124  val loss 0.4000  top-1 88.10%  top-5 100.00%  120.5 images/s" in shown
    assert "best             top-1 88.10%, epoch 2" in shown
    assert "{" not in shown
    found = json.loads(scenerec("status", "photos", "--json").stdout)
    assert (found["status"], found["result"], found["epoch"]["val_top1"]) == ("SUCCEEDED", RESULT, 0.881)


def test_its_curves_are_drawn_and_told_in_numbers(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(output, "photos", "SUCCEEDED", format_line(EPOCH))
    history = [
        EpochMetrics(epoch=number, train_loss=2 / number, validation={"val_loss": math.nan, "val_top1": number / 4})
        for number in (1, 2, 3)
    ]
    RunFolder(f"{output}/photos").write_metrics(history)
    monkeypatch.setenv("COLUMNS", "60")
    lines = scenerec("status", "photos").stdout.splitlines()
    assert "loss      █▃▁  2.0000 to 0.6667" in lines and "top-1     ▁▅█  25.00% to 75.00%" in lines
    told = json.loads(scenerec("status", "photos", "--json").stdout)["history"]
    assert [(each["epoch"], each["val_top1"], each["val_loss"]) for each in told] == [
        (number, number / 4, None) for number in (1, 2, 3)
    ]


def test_curves_that_cannot_be_read_hide_nothing_else(output: Path) -> None:
    make_run(output, "photos", "SUCCEEDED", format_line(EPOCH))
    open_storage(f"{output}/photos").put("metrics.jsonl", b"damaged")
    shown = scenerec("status", "photos")
    assert "epoch     2/2" in shown.stdout and f"no curves: {output}/photos/metrics.jsonl: is damaged" in shown.stderr


def test_its_log_is_shown_and_its_exit_code_kept(output: Path) -> None:
    log = "\n".join(["[note] begins", format_line(Failure("data.train: gone"))])
    make_run(output, "photos", "FAILED", log, message="data.train: gone", exit_code=4)
    assert scenerec("logs", "photos").stdout.splitlines() == ["begins", "error: data.train: gone"]
    scenerec("logs", "-f", "photos", code=4)
    assert scenerec("stop", "photos").stdout == "photos-1: had ended already: FAILED\n"


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        (("--tail", "2"), ["second", "third"]),
        (("-n", "9"), ["first", "second", "third"]),
        (("-n", "0"), []),
        (("-n", "2", "--verbose"), ["(raylet pid=7) starting", "third"]),
    ],
)
def test_only_the_newest_lines_of_a_log(output: Path, options: tuple[str, ...], lines: list[str]) -> None:
    make_run(output, "photos", "SUCCEEDED", LOG)
    assert scenerec("logs", "photos", *options).stdout.splitlines() == lines


def test_a_run_that_fell_silent_is_interrupted_and_the_next_step_is_told(output: Path) -> None:
    make_run(output, "photos", "RUNNING", ended_s=None, exit_code=None)
    assert json.loads(scenerec("status", "photos", "--json").stdout)["status"] == "RUNNING"
    for command in (["stop", "photos"], ["logs", "-f", "photos"]):
        assert "photos-1: runs on another cluster: name it by --address" in scenerec(*command, code=7).stderr
    folder = open_storage(f"{output}/photos")
    record = RunRecord.model_validate_json(folder.get(RECORD_FILE))
    silent = record.model_copy(update={"seen_s": time.time() - 100})
    folder.put(RECORD_FILE, silent.model_dump_json().encode())
    shown = scenerec("status", "photos").stdout
    assert "photos-1  INTERRUPTED" in shown
    assert "error     it fell silent: it ended with its cluster or its node" in shown
    assert f"next      go on from what it has saved: scenerec submit --resume {output}/photos\n" in shown


def test_a_run_that_is_nowhere_is_one_line(output: Path) -> None:
    assert "nobody: no cluster is up that could know a run of this name" in scenerec("status", "nobody", code=7).stderr
    assert f"{output}/nobody: no run lies there" in scenerec("status", f"{output}/nobody", code=7).stderr


def test_a_search_and_a_run_to_resume_are_found_by_name(output: Path) -> None:
    make_run(output, "photos", "FAILED", exit_code=4)
    assert f"{output}/photos: has no config.yaml" in scenerec("tune", "show", "photos", code=5).stderr
    assert (
        f"{output}/photos: has no config.yaml" in scenerec("submit", "--resume", "photos", "--dry-run", code=5).stderr
    )


@pytest.mark.parametrize(
    ("exit_code", "message", "words"),
    [
        (
            137,
            "Job entrypoint command failed with exit code 137, last available logs:\n",
            "was killed (SIGKILL): if mem",
        ),
        (-9, "", "was killed (SIGKILL): if memory ran out"),
        (143, "", "was ended from outside (SIGTERM)"),
        (139, "", "crashed (SIGSEGV)"),
        (None, "ray.exceptions.OutOfMemoryError: Task was killed due to", "its node ran out of memory"),
        (
            1,
            "Job entrypoint command failed with exit code 1, last available logs (x):\nno",
            "failed: Job entrypoint command",
        ),
        (None, "", "failed: no reason given"),
        (255, "", "failed: no reason given"),
    ],
)
def test_why_a_job_has_ended_is_said(exit_code: int | None, message: str, words: str) -> None:
    job = Job("a-1", "a", "s3://b/a", "train", "torch", "FAILED", message, exit_code, 0.0, 1.0)
    assert words in reason(job)
    assert "last available logs" not in reason(job)
    assert (
        next_step(job, " --address X") == "go on from what it has saved: scenerec submit --resume s3://b/a --address X"
    )


def test_the_newest_run_is_preferred_to_other_jobs_and_one_that_runs_to_one_that_has_ended() -> None:
    def job(name: str, kind: str, status: str) -> Job:
        return Job(name, name, "", kind, "-", status, "", None, 0.0, None)

    pack, done, runs = job("p", "pack", "RUNNING"), job("d", "train", "FAILED"), job("r", "tune", "RUNNING")
    assert newest_run([pack, done, runs]) is runs
    assert newest_run([pack, done]) is done
    assert newest_run([pack]) is pack
    assert newest_run([]) is None


JOB = """
import os, signal, sys
from jobs.main import run_job
from scenerec.errors import DataError

def run_file(file):
    print("says", file, flush=True)
    match sys.argv[1]:
        case "fails":
            raise DataError("data.train: gone")
        case "breaks":
            raise KeyError("unforeseen")
        case "stops":
            sys.exit(15)
    return {"done": True}

sys.exit(run_job(run_file, "config.yaml"))
"""


@pytest.mark.parametrize(
    ("act", "status", "exit_code", "message"),
    [
        ("succeeds", "SUCCEEDED", 0, ""),
        ("fails", "FAILED", 4, "data.train: gone"),
        ("breaks", "FAILED", 1, "met what nobody has foreseen (KeyError: 'unforeseen')"),
        ("stops", "STOPPED", 15, ""),
    ],
)
def test_a_jobs_process_leaves_its_record_and_its_log(
    output: Path, tmp_path: Path, act: str, status: str, exit_code: int, message: str
) -> None:
    variables = {"SCENEREC_JOB_ID": "photos-7", **run_environment("photos", f"{output}/photos", "train", "torch")}
    with (tmp_path / "driver.log").open("w") as log:
        command = [sys.executable, "-c", JOB, act]
        done = subprocess.run(command, stdout=log, stderr=log, env={**os.environ, **variables}, timeout=PATIENCE_S)
    assert done.returncode == exit_code
    found = json.loads(scenerec("status", "photos", "--json").stdout)
    assert (found["id"], found["status"], found["message"], found["kind"]) == ("photos-7", status, message, "train")
    assert found["ended_s"] >= found["started_s"] > 1e9
    kept = open_storage(f"{output}/photos").get(log_key("photos-7")).decode()
    assert kept == (tmp_path / "driver.log").read_text()
    assert kept.startswith("says config.yaml\n") and ("Traceback" in kept) == (act == "breaks")
