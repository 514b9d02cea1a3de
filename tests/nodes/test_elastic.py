"""An elastic training loses a node and gets one: it shrinks and grows, and sees the same samples."""

import os
import time
from pathlib import Path

import pytest

from tests.nodes.datacenter import BUCKET, Datacenter
from tests.nodes.runs import await_epoch, document, newest_place, standstill
from tests.nodes.table import Row, keep
from tests.nodes.watched_job import WatchedJob

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(900)]


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_a_run_shrinks_and_grows(framework: str, dc: Datacenter, table_file: Path) -> None:
    scale = {"workers": {"min": 1, "max": 3}, "max_restarts": 20}
    optimize = {"epochs": 1000, "global_batch_size": 12, "lr": 0.01}  # 12 are divided by 1, 2 and 3
    job = dc.submit(document(f"elastic-{framework}", framework, 1000, scale=scale, optimize=optimize))
    job.until(r"on 3 worker\(s\)")
    await_epoch(job, 2)
    rows = []

    struck_s, at_s = time.monotonic(), job.now_s
    lost = dc.nodes_of_ranks(job)[2]
    lost.kill()
    job.until(r"resumed from step .* on 2 worker\(s\)", after_s=at_s)
    await_epoch(job, newest_place([job])[0] + 1)
    rows.append(Row("elastic: a node of three killed", framework, *_came_to("goes on with two", job, struck_s)))

    struck_s, at_s = time.monotonic(), job.now_s
    dc.join(lost)
    joined_s = time.monotonic()
    grown = job.until(r"resumed from step .* on 3 worker\(s\)", after_s=at_s)
    await_epoch(job, newest_place([job])[0] + 1)
    print(f"grew {job.began_s + grown.at_s - joined_s:.0f} s after the node had joined")
    rows.append(Row("elastic: a node joins two", framework, *_came_to("goes on with three", job, struck_s)))

    assert dc.scenerec("stop", job.job_id).returncode == 0
    dc.python(
        "from tests.local_run import check_logged_samples as check; "
        f"check('s3://{BUCKET}/runs/{job.name}', finished=False)"
    )
    workers = [epoch["workers"] for epoch in dc.history(job.name)]
    assert [count for count, before in zip(workers, [0, *workers], strict=False) if count != before] == [3, 2, 3]
    for row in rows:
        print(row)
        if os.environ.get("KEEP_FAULTS"):
            keep(row, table_file)


def _came_to(outcome: str, job: WatchedJob, struck_s: float) -> tuple[str, int, float]:
    seconds, restarts = standstill([job], struck_s)
    return f"{outcome}, the same samples", restarts, seconds
