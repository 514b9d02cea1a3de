"""A cluster that has lost too many nodes says which: in the job that waits for them, and where one asks."""

import json

import pytest

from tests.nodes.datacenter import Datacenter
from tests.nodes.runs import await_epoch, document, newest_place
from tests.patience import wait_until

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(900)]


def test_a_run_without_room_names_the_nodes_that_were_lost(dc: Datacenter) -> None:
    job = dc.submit(document("no-room", "torch", 1000))
    await_epoch(job, 1)
    at_s, lost = job.now_s, [machine.address for machine in dc.nodes[:2]]
    for machine in dc.nodes[:2]:
        machine.kill()
    job.until(
        rf"waiting for torch on 2 workers: .* of 1 free; {', '.join(lost)} were lost: start Ray there", after_s=at_s
    )
    wait_until(lambda: json.loads(dc.scenerec("cluster", "status", "--json").stdout)["lost_nodes"] == lost)
    assert [line.split()[1] for line in shown(dc) if line.startswith("lost")] == lost

    reached = newest_place([job])[0]
    dc.restore(nodes=3)
    await_epoch(job, reached + 1)
    assert not [line for line in shown(dc) if line.startswith("lost")]
    assert dc.scenerec("stop", job.job_id).returncode == 0


def shown(dc: Datacenter) -> list[str]:
    return dc.scenerec("cluster", "status").stdout.splitlines()
