"""The data centre itself: what a test leaves running does not stand in the way of the next."""

import json

import pytest

from tests.nodes.datacenter import Datacenter
from tests.nodes.runs import await_epoch, document

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(900)]


def test_jobs_that_were_left_are_stopped(dc: Datacenter) -> None:
    left = dc.submit(document("left", "torch", 1000))
    await_epoch(left, 1)
    waits = dc.submit(document("waits", "torch", 1))
    ids = {left.job_id, waits.job_id}
    dc.stop_jobs()
    assert [job.wait() != 0 for job in (left, waits)] == [True, True]
    listed = json.loads(dc.scenerec("list", "--json").stdout)
    assert [job["status"] for job in listed if job["id"] in ids] == ["STOPPED", "STOPPED"]
