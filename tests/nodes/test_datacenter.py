"""The data centre itself: what a test leaves running does not stand in the way of the next."""

import json

import pytest

from tests.nodes.datacenter import Datacenter
from tests.nodes.runs import await_epoch, document

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(900)]


def test_jobs_that_were_left_are_stopped(dc: Datacenter) -> None:
    left = [dc.submit(document(name, "torch", 1000)) for name in ("left", "left-waiting")]
    await_epoch(left[0], 1)
    assert left[1].job_id
    dc.stop_jobs()
    assert [job.wait() != 0 for job in left] == [True, True]
    assert {job["status"] for job in json.loads(dc.scenerec("list", "--json").stdout)} <= {"STOPPED", "SUCCEEDED"}
