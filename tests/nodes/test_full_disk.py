"""A node whose disk is full: the training that runs there names it, and so does one that would begin there."""

from typing import Any

import pytest

from tests.nodes.datacenter import Datacenter
from tests.nodes.runs import await_epoch, document

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(900)]

FILL = "head -c 1000000000 /dev/zero > /tmp/full"


def test_a_full_disk_is_told_with_its_node(dc: Datacenter) -> None:
    for node in dc.nodes[:3]:
        node.kill()
    for node in dc.nodes[:2]:
        dc.join(node, disk_mb=300)
    job = dc.submit(config("filled"))
    await_epoch(job, 2)
    full = dc.nodes_of_ranks(job)[0]
    full.run(FILL, check=False)
    assert job.wait() == 3, job.tail()
    said = f"error: node {full.address}: no space is left on its disk"
    assert said in job.tail(1)

    job = dc.submit(config("full-from-the-beginning"))
    assert job.wait() == 3, job.tail()
    assert said in job.tail(1)


def config(name: str) -> dict[str, Any]:
    return document(name, "torch", 200, scale={"workers": 2, "max_restarts": 1})
