"""A node whose disk is full: the training that runs there names it, and goes on where it was once there is room."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.nodes.datacenter import Datacenter
from tests.nodes.runs import await_epoch, document, learned, standstill
from tests.nodes.table import Row, keep

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(900)]

_DISK_MB = 300


@pytest.fixture(params=["torch", "tensorflow"])
def framework(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def small(framework: str, dc: Datacenter, undisturbed: Callable[[str, int], list[Any]]) -> Iterator[Datacenter]:
    """Two nodes with small disks, where the undisturbed run was made before."""
    undisturbed(framework, 6)
    for node in dc.nodes[:3]:
        node.kill()
    for node in dc.nodes[:2]:
        dc.join(node, disk_mb=_DISK_MB)
    yield dc
    for node in dc.nodes[:2]:
        node.kill()


def test_a_full_disk_is_told_with_its_node(
    framework: str, small: Datacenter, undisturbed: Callable[[str, int], list[Any]], table_file: Path
) -> None:
    """Its worker ends as it cannot write its log, and so does each that Ray starts there in its place."""
    dc = small
    config = document(f"filled-{framework}", framework, 6, scale={"workers": 2, "max_restarts": 1})
    jobs = [dc.submit(config)]
    await_epoch(jobs[0], 2)
    full, struck_s = dc.nodes_of_ranks(jobs[0])[0], time.monotonic()
    full.run("head -c 1G /dev/zero > /tmp/full", check=False)
    assert jobs[0].wait() != 0, jobs[0].tail()
    said = [line.text for line in jobs[0].lines]
    assert [text for text in said if text.startswith(f"worker 0 failed: node {full.address}: no space is left on")]
    errors = [text for text in said if text.startswith("error: ")]
    assert (
        len(errors) == 1 and f"node {full.address}" in errors[0]
    )  # five starts in vain, or one that Ray could not prepare

    full.run("rm /tmp/full")
    jobs.append(dc.submit(config))
    assert jobs[1].wait() == 0, jobs[1].tail()
    assert learned(dc, jobs[1].name) == undisturbed(framework, 6)
    seconds, restarts = standstill(jobs, struck_s)
    row = Row("disk of a node full", framework, "goes on when submitted again, bit-equal", restarts, seconds)
    print(row)
    if os.environ.get("KEEP_FAULTS"):
        keep(row, table_file)
