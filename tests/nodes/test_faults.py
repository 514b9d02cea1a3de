"""Training on several nodes under every fault: it ends with the history and the samples of an undisturbed run."""

import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.nodes.datacenter import TOKEN, Datacenter
from tests.nodes.machines import Machine
from tests.nodes.runs import await_epoch, document, learned, newest_place, standstill
from tests.nodes.table import Row, keep
from tests.nodes.watched_job import WatchedJob

Undisturbed = Callable[[str, int], list[Any]]
Strike = Callable[[Datacenter, WatchedJob], None]


@dataclass(frozen=True)
class Fault:
    """Something that happens to a run."""

    name: str
    """As in docs/faults.md."""
    strike: Strike
    """Lets it happen, and returns when it is over; a machine that is off is replaced then."""
    ends_job: bool = False
    """Whether the job ends of it, so that the run goes on when it is submitted again."""


def kill_node(rank: int, silently: bool = False) -> Strike:
    return lambda dc, job: dc.nodes_of_ranks(job)[rank].kill(silently)


def pull_cable(rank: int, seconds: float) -> Strike:
    def strike(dc: Datacenter, job: WatchedJob) -> None:
        machine = dc.nodes_of_ranks(job)[rank]
        machine.cut()
        time.sleep(seconds)
        machine.heal()

    return strike


def preempt(announce: Callable[[Machine], object]) -> Strike:
    """The machine goes when the run has said what it does about it, and the run goes on from there."""

    def strike(dc: Datacenter, job: WatchedJob) -> None:
        machine, at_s = dc.nodes_of_ranks(job)[1], job.now_s
        announce(machine)
        told = job.until(r"checkpoint of step \d+ is written: a machine of this run goes away", after_s=at_s)
        machine.kill()
        resumed = job.until(r"resumed from step \d+", after_s=told.at_s)
        steps = [int(re.findall(r"step (\d+)", line.text)[0]) for line in (told, resumed)]
        assert steps[1] >= steps[0]

    return strike


def send_sigterm(machine: Machine) -> None:
    assert machine.signal("RayTrainWorker", signal.SIGTERM)


def drain(machine: Machine) -> None:
    """On the node itself, as docs/clouds.md says."""
    machine.run(
        "ray drain-node --reason DRAIN_NODE_REASON_PREEMPTION --reason-message spot --deadline-remaining-seconds 100",
        {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN},
    )


def stop_store(dc: Datacenter, job: WatchedJob) -> None:
    dc.stop_store()
    time.sleep(20)
    dc.start_store()


def freeze_store(dc: Datacenter, job: WatchedJob) -> None:
    dc.freeze_store()
    time.sleep(20)
    dc.thaw_store()


def fill_store(dc: Datacenter, job: WatchedJob) -> None:
    dc.stop_store()
    dc.start_store("-volume.minFreeSpace=100")  # percent


def kill_driver(dc: Datacenter, job: WatchedJob) -> None:
    assert dc.head.signal("jobs.train", signal.SIGKILL)


def kill_head(dc: Datacenter, job: WatchedJob) -> None:
    dc.head.kill()


ANOTHER_NODE = Fault("node of another rank killed", kill_node(1))
GROUPS = {
    "lost": (
        ANOTHER_NODE,
        Fault("node of rank 0 killed", kill_node(0)),
        Fault("cable of a node pulled for 20 s", pull_cable(1, 20)),
    ),
    "away": (
        Fault("power failure of a node", kill_node(1, silently=True)),
        Fault("cable of a node pulled for 120 s", pull_cable(1, 120)),
        Fault("pre-emption told by SIGTERM", preempt(send_sigterm)),
    ),
    "told": (
        Fault("pre-emption told by `ray drain-node`", preempt(drain)),
        Fault("store gone for 20 s", stop_store),
        Fault("store hangs for 20 s", freeze_store),
    ),
    "ended": (
        Fault("driver killed", kill_driver, ends_job=True),
        Fault("head killed", kill_head, ends_job=True),
    ),
    "full": (Fault("store full", fill_store, ends_job=True),),
}
"""By a word for each group: a run of each meets them one after the other."""


SUBMITTED_AGAIN = (1, 3, 7)
"""Exit codes after which the loop of docs/faults.md submits the run again: a driver, a store, a head that is gone."""


def epochs_under(faults: tuple[Fault, ...]) -> int:
    """More than a run can make until the last of them is over: while a cable is pulled, it goes on elsewhere."""
    return 16 if all(fault.ends_job for fault in faults) else 40


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("framework", "name", "faults", "epochs"),
    [
        pytest.param("torch", "killed", (ANOTHER_NODE,), 6, id="killed"),
        *(
            pytest.param(
                framework, name, faults, epochs_under(faults), id=f"{name}-{framework}", marks=pytest.mark.nodes
            )
            for name, faults in GROUPS.items()
            for framework in ("torch", "tensorflow")
        ),
    ],
)
def test_a_run_outlives_one_fault_after_another(
    framework: str,
    name: str,
    faults: tuple[Fault, ...],
    epochs: int,
    dc: Datacenter,
    undisturbed: Undisturbed,
    table_file: Path,
) -> None:
    """Each strikes in the middle of an epoch, between two checkpoints, once the run has got over the one before."""
    expected = undisturbed(framework, epochs)
    restarts = 1 if any(fault.ends_job for fault in faults) else 20  # a full store costs all of them
    scale = {"workers": 2, "max_restarts": restarts}
    config = document(f"{name}-{framework}", framework, epochs, scale=scale)
    jobs = [dc.submit(config)]
    rows = []
    for fault in faults:
        await_epoch(jobs[-1], newest_place(jobs)[0] + 1)
        before, struck_s = newest_place(jobs), time.monotonic()
        fault.strike(dc, jobs[-1])
        if fault.ends_job:
            assert jobs[-1].wait() in SUBMITTED_AGAIN, jobs[-1].tail()
            print(jobs[-1].tail(3))
        dc.restore(nodes=3)
        if fault.ends_job:
            jobs.append(dc.submit(config))
            jobs[-1].until("resumed from step")
        await_epoch(jobs[-1], before[0] + 2)  # the log lags behind by up to one
        seconds, restarts = standstill(jobs, struck_s)
        outcome = "goes on when submitted again" if fault.ends_job else "goes on by itself"
        rows.append(Row(fault.name, framework, f"{outcome}, bit-equal", restarts, seconds))
        print(rows[-1])
    assert jobs[-1].wait() == 0, jobs[-1].tail()
    assert learned(dc, config["name"]) == expected
    if os.environ.get("KEEP_FAULTS"):
        for row in rows:
            keep(row, table_file)
