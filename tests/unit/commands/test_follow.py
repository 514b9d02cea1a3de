from dataclasses import replace
from pathlib import Path

import pytest

from cluster.client import Job
from scenerec.commands.follow import exit_code, stored_result


@pytest.mark.parametrize(
    ("status", "of_process", "expected"),
    [
        ("SUCCEEDED", 0, 0),
        ("FAILED", 4, 4),
        ("FAILED", 1, 1),
        ("FAILED", None, 1),  # before there was a process
        ("FAILED", -9, 1),  # killed
        ("FAILED", 137, 1),
        ("STOPPED", None, 130),
    ],
)
def test_the_exit_code_follows_the_job(status: str, of_process: int | None, expected: int) -> None:
    job = Job("run-1", "run", "s3://b/run", "train", "torch", status, "", of_process, 0.0, 1.0)
    assert exit_code(job) == expected


def test_a_result_that_the_log_has_lost_is_in_the_runs_folder(tmp_path: Path) -> None:
    job = Job("run-1", "run", str(tmp_path), "train", "torch", "SUCCEEDED", "", 0, 0.0, 1.0)
    assert stored_result(job) is None
    (tmp_path / "result.json").write_text('{"best": {"epoch": 2}}')
    assert stored_result(job) == {"best": {"epoch": 2}}
    assert stored_result(replace(job, kind="pack")) is None  # whose folder is a set
