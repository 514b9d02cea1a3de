"""Training on several nodes under every fault: it ends with the history and the samples of an undisturbed run."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.nodes.datacenter import Datacenter, WatchedJob
from tests.nodes.runs import MIDDLE, document, learned, longest_standstill
from tests.nodes.table import Row, keep

Undisturbed = Callable[[str], list[Any]]
Strike = Callable[[Datacenter, WatchedJob], None]

OTHER_FAULTS = pytest.mark.nodes
"""Not of `make test`."""


def node_of_rank(rank: int, silently: bool = False) -> Strike:
    return lambda dc, job: dc.nodes_of_ranks(job)[rank].kill(silently)


def cable_of_rank(rank: int, seconds: float) -> Strike:
    def strike(dc: Datacenter, job: WatchedJob) -> None:
        machine = dc.nodes_of_ranks(job)[rank]
        machine.cut()
        time.sleep(seconds)
        machine.heal()

    return strike


def store_gone(seconds: float) -> Strike:
    def strike(dc: Datacenter, job: WatchedJob) -> None:
        dc.stop_store()
        time.sleep(seconds)
        dc.start_store()

    return strike


def store_hangs(seconds: float) -> Strike:
    def strike(dc: Datacenter, job: WatchedJob) -> None:
        dc.freeze_store()
        time.sleep(seconds)
        dc.thaw_store()

    return strike


def preempted(rank: int) -> Strike:
    """Its node's workers get SIGTERM, and are lost when they have said what they do about it."""

    def strike(dc: Datacenter, job: WatchedJob) -> None:
        machine = dc.nodes_of_ranks(job)[rank]
        at_s = job.now_s
        assert machine.signal("RayTrainWorker", signal.SIGTERM)
        job.until("checkpoint of step [0-9]+ is written: a machine of this run goes away", after_s=at_s)
        machine.kill()

    return strike


def driver_killed(dc: Datacenter, job: WatchedJob) -> None:
    assert dc.head.signal("jobs.train", signal.SIGKILL)


def head_killed(dc: Datacenter, job: WatchedJob) -> None:
    dc.head.kill()


def store_full(dc: Datacenter, job: WatchedJob) -> None:
    dc.stop_store()
    dc.start_store("-volume.minFreeSpace=100")  # percent


def case(strike: Strike, name: str) -> Any:
    return pytest.param(strike, name, marks=OTHER_FAULTS)


both = pytest.mark.parametrize("framework", ["torch", pytest.param("tensorflow", marks=OTHER_FAULTS)])


@both
@pytest.mark.parametrize(
    ("strike", "fault"),
    [
        pytest.param(node_of_rank(1), "node of another rank killed"),
        case(node_of_rank(0), "node of rank 0 killed"),
        case(node_of_rank(1, silently=True), "power failure of a node"),
        case(cable_of_rank(1, 20), "cable of a node pulled for 20 s"),
        case(cable_of_rank(1, 120), "cable of a node pulled for 120 s"),
        case(store_gone(20), "store gone for 20 s"),
        case(store_hangs(20), "store hangs for 20 s"),
        case(preempted(1), "pre-emption: SIGTERM, then the node is gone"),
    ],
)
def test_a_run_goes_on(
    framework: str, strike: Strike, fault: str, dc: Datacenter, undisturbed: Undisturbed, table_file: Path
) -> None:
    expected = undisturbed(framework)
    job = dc.submit(document(_name(fault, framework), framework))
    job.until(MIDDLE)
    struck_s = time.monotonic()
    strike(dc, job)
    assert job.wait() == 0, job.tail()
    judge(dc, fault, framework, [job], struck_s, expected, "goes on by itself", table_file)


@both
@pytest.mark.parametrize(
    ("strike", "fault"),
    [
        case(driver_killed, "driver killed"),
        case(head_killed, "head killed"),
        case(store_full, "store full"),
    ],
)
def test_a_run_that_ends_goes_on_when_it_is_submitted_again(
    framework: str, strike: Strike, fault: str, dc: Datacenter, undisturbed: Undisturbed, table_file: Path
) -> None:
    expected = undisturbed(framework)
    job = dc.submit(document(_name(fault, framework), framework))
    job.until(MIDDLE)
    struck_s = time.monotonic()
    strike(dc, job)
    assert job.wait() != 0, job.tail()
    dc.restore(nodes=3)
    again = dc.submit(document(job.name, framework))
    again.until("resumed from step")
    assert again.wait() == 0, again.tail()
    judge(dc, fault, framework, [job, again], struck_s, expected, "goes on when submitted again", table_file)


def judge(
    dc: Datacenter,
    fault: str,
    framework: str,
    jobs: list[WatchedJob],
    struck_s: float,
    expected: list[Any],
    outcome: str,
    table_file: Path,
) -> None:
    """The run has learned the same of the same samples, to the last bit."""
    assert learned(dc, jobs[0].name) == expected
    stretch = longest_standstill(jobs, struck_s)
    row = Row(fault, framework, f"{outcome}, bit-equal", stretch.restarts, stretch.seconds)
    print(row)
    if os.environ.get("KEEP_FAULTS"):
        keep(row, table_file)


def _name(fault: str, framework: str) -> str:
    words = "".join(letter if letter.isalnum() else "-" for letter in fault.lower())
    return f"{words[:40].strip('-')}-{framework}"
