"""job.json as a lease: of several jobs one has the run, and a job that was silent for too long gives way."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cluster.job import Job
from cluster.run_record import RECORD_FILE, SILENCE_S, RunRecord, hold_run, read_record, release_run, run_environment
from scenerec.storage import Storage, open_storage
from tests.odd_store import OddStore
from tests.patience import PATIENCE_S

JOB = """
import sys, time
import jobs.record
from jobs.main import run_job

jobs.record.SEEN_EVERY_S = 0.1

def run_file(file):
    print("works", flush=True)
    time.sleep(float(sys.argv[1]))
    return {"done": True}

sys.exit(run_job(run_file, "config.yaml"))
"""


def job(name: str, status: str = "RUNNING") -> Job:
    return Job(name, "photos", "runs/photos", "train", "torch", status, "", None, 1e9, None)


def note(folder: Storage, name: str, status: str = "RUNNING", silent_s: float = 0) -> None:
    """As a job does it: under the condition that no other one has written meanwhile."""
    content = RunRecord(job=job(name, status), seen_s=time.time() - silent_s).model_dump_json().encode()
    while not folder.put_if(RECORD_FILE, content, (folder.get_versioned(RECORD_FILE) or (b"", None))[1]):
        pass


def start(folder: Path, name: str, seconds: float) -> "subprocess.Popen[str]":
    variables = {"SCENEREC_JOB_ID": name, **run_environment("photos", str(folder), "train", "torch")}
    command = [sys.executable, "-c", JOB, str(seconds)]
    return subprocess.Popen(command, env={**os.environ, **variables}, stdout=subprocess.PIPE, text=True)


def holder(folder: Storage) -> str:
    record = read_record(folder)
    assert record is not None
    return record.job.id


def test_of_jobs_that_begin_at_once_one_gets_the_run(tmp_path: Path) -> None:
    folder = open_storage(str(tmp_path))
    names = [f"photos-{number}" for number in range(8)]
    with ThreadPoolExecutor(len(names)) as threads:
        others = list(threads.map(lambda name: hold_run(folder, job(name), False), names))
    (winner,) = [name for name, other in zip(names, others, strict=True) if other is None]
    assert {other.id for other in others if other} == {winner} == {holder(folder)}


@pytest.mark.parametrize(
    ("status", "silent_s", "is_free"),
    [("RUNNING", 0, False), ("RUNNING", SILENCE_S + 1, True), ("FAILED", 0, True), ("SUCCEEDED", 0, True)],
)
def test_a_run_is_free_when_its_job_has_ended_or_fell_silent(
    tmp_path: Path, status: str, silent_s: float, is_free: bool
) -> None:
    folder = open_storage(str(tmp_path))
    note(folder, "first", status, silent_s)
    other = hold_run(folder, job("second"), False)
    assert (other is None) == is_free
    assert holder(folder) == ("second" if is_free else "first")
    assert hold_run(folder, job(holder(folder)), True) is None  # the one that has it keeps it


def test_a_run_is_given_free_of_a_job_that_could_not_say_its_end(tmp_path: Path) -> None:
    folder = open_storage(str(tmp_path))
    note(folder, "killed")
    release_run(folder, job("killed"))
    record = read_record(folder)
    assert record is not None and record.job.status == "INTERRUPTED" and record.job.ended_s
    assert hold_run(folder, job("next"), is_held=False) is None


def test_in_a_store_without_conditions_a_job_still_sees_that_another_has_its_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with OddStore() as store:
        store.habits = frozenset({"conditions-501"})
        environment = {"AWS_ENDPOINT_URL": store.url, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        folder = open_storage("s3://bucket/runs/photos")
        assert hold_run(folder, job("first"), False) is None
        other = hold_run(folder, job("second"), False)
    assert other is not None and other.id == "first"


def test_a_job_whose_run_is_taken_does_not_begin(tmp_path: Path) -> None:
    note(open_storage(str(tmp_path)), "first")
    with start(tmp_path, "second", 0) as second:
        shown, _ = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 7
    assert shown == (
        "[error] runs/photos: job first is at this run, perhaps on another cluster: give the new one another name, "
        "or end that one (scenerec stop)\n"
    )
    assert holder(open_storage(str(tmp_path))) == "first"


def test_a_job_that_was_taken_for_lost_ends(tmp_path: Path) -> None:
    folder = open_storage(str(tmp_path))
    with start(tmp_path, "first", 2 * PATIENCE_S) as first:
        assert first.stdout is not None and first.stdout.readline() == "works\n"
        note(folder, "second")
        shown, _ = first.communicate(timeout=PATIENCE_S)
    assert first.returncode != 0
    assert "job second is at this run" in shown
    assert holder(folder) == "second"
