"""An elastic training loses a node and gets one: it shrinks and grows, and sees the same samples."""

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.nodes.datacenter import BUCKET, Datacenter
from tests.nodes.runs import await_epoch, document, newest_place, standstill
from tests.nodes.table import Row, keep
from tests.nodes.watched_job import WatchedJob

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(900)]

_ON_ALL = r"resumed from step .* on 3 worker\(s\)"


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_a_run_shrinks_and_grows(framework: str, dc: Datacenter, table_file: Path) -> None:
    config = elastic(f"elastic-{framework}", framework)
    job = dc.submit(config)
    job.until(r"on 3 worker\(s\)")
    await_epoch(job, 2)

    struck_s, at_s = time.monotonic(), job.now_s
    lost = dc.nodes_of_ranks(job)[2]
    lost.kill()
    job.until(r"resumed from step .* on 2 worker\(s\)", after_s=at_s)
    await_epoch(job, newest_place([job])[0] + 1)
    shrunk = Row("elastic: a node of three killed", framework, *came_to("goes on with two", [job], struck_s))

    struck_s, at_s = time.monotonic(), job.now_s
    dc.join(lost)
    job.until(_ON_ALL, after_s=at_s)
    await_epoch(job, newest_place([job])[0] + 1)
    grown = Row("elastic: a node joins two", framework, *came_to("goes on with three", [job], struck_s))

    assert dc.scenerec("stop", job.job_id).returncode == 0
    check_samples(dc, job)
    workers = [epoch["workers"] for epoch in dc.history(job.name)]
    assert [count for count, before in zip(workers, [0, *workers], strict=False) if count != before] == [3, 2, 3]
    keep_all([shrunk, grown], table_file)


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_a_run_that_was_stopped_or_whose_driver_was_killed_has_all_nodes_again(
    framework: str, dc: Datacenter, table_file: Path
) -> None:
    """Nobody else computes: what it had reserved is free, at once where it was stopped, else when that lapses.

    Every twentieth time a controller reserves anew, in the half second in which it is ended: so it is stopped up to
    three times.
    """
    config = elastic(f"elastic-again-{framework}", framework)
    jobs = [dc.submit(config)]
    await_epoch(jobs[-1], 2)

    for _ in range(3):
        struck_s = time.monotonic()
        assert dc.scenerec("stop", jobs[-1].job_id).returncode == 0
        jobs.append(resumed_on_all(dc, config))
        if not any("falling below the minimum" in line.text for line in jobs[-1].lines):
            break
    else:
        raise AssertionError(jobs[-1].tail())
    resumed = "goes on with three when submitted again"
    stopped = Row("elastic: stopped", framework, *came_to(resumed, jobs, struck_s))

    struck_s = time.monotonic()
    assert dc.head.signal("jobs.train", signal.SIGKILL)
    assert jobs[-1].wait() != 0, jobs[-1].tail()
    jobs.append(resumed_on_all(dc, config))
    killed = Row("elastic: driver killed", framework, *came_to(resumed, jobs, struck_s))

    assert dc.scenerec("stop", jobs[-1].job_id).returncode == 0
    check_samples(dc, jobs[-1])
    keep_all([stopped, killed], table_file)


def elastic(name: str, framework: str) -> dict[str, Any]:
    """A run on one to three workers, which ends only when it is stopped."""
    scale = {"workers": {"min": 1, "max": 3}, "max_restarts": 20}
    optimize = {"epochs": 1000, "global_batch_size": 12, "lr": 0.01}  # 12 are divided by 1, 2 and 3
    return document(name, framework, 1000, scale=scale, optimize=optimize)


def resumed_on_all(dc: Datacenter, config: dict[str, Any]) -> WatchedJob:
    """The run submitted again, when it has got further than it was."""
    job = dc.submit(config)
    resumed = re.search(r"\(epoch (\d+)", job.until(_ON_ALL).text)
    assert resumed
    await_epoch(job, int(resumed[1]) + 2)
    return job


def came_to(outcome: str, jobs: list[WatchedJob], struck_s: float) -> tuple[str, int, float]:
    seconds, restarts = standstill(jobs, struck_s)
    return f"{outcome}, the same samples", restarts, seconds


def check_samples(dc: Datacenter, job: WatchedJob) -> None:
    """Whether the run saw the samples that any run of its seed sees, each in its step."""
    dc.python(
        "from tests.local_run import check_logged_samples as check; "
        f"check('s3://{BUCKET}/runs/{job.name}', finished=False)"
    )


def keep_all(rows: list[Row], table_file: Path) -> None:
    for row in rows:
        print(row)
        if os.environ.get("KEEP_FAULTS"):
            keep(row, table_file)
