"""`scenerec cluster doctor` on several nodes: each is looked at, and those on which trainings run add up together."""

import json

import pytest

from tests.nodes.datacenter import Datacenter

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(900)]


def test_every_node_is_looked_at_and_those_with_cpus_add_up(dc: Datacenter) -> None:
    asked = dc.scenerec("cluster", "doctor", "--store", "s3://scenes/doctor", "--all-reduce", "--json")
    told = json.loads(asked.stdout)
    print(*(f"{line['level']} {line['check']}: {line['text']}" for line in told["findings"]), sep="\n")
    seen = told["seen"]
    assert {node["address"] for node in seen["nodes"]} == {machine.address for machine in (dc.head, *dc.nodes[:3])}
    assert {node["interface"] for node in seen["nodes"]} == {"eth0"}
    assert not [node["store"]["error"] for node in seen["nodes"] if node["store"]["error"]]
    assert (seen["all_reduce_nodes"], seen["all_reduce_backend"]) == (3, "gloo")  # the head has no CPU
    assert seen["all_reduce_bytes_per_s"] > 0 and seen["all_reduce_error"] is None
    assert not dc.python(
        "from scenerec.storage import open_storage as o; print(*o('s3://scenes/doctor').list())"
    ).strip()


def test_a_cut_node_is_named_and_the_others_are_looked_at(dc: Datacenter) -> None:
    dc.node(3).cut()
    told = json.loads(dc.scenerec("cluster", "doctor", "--all-reduce", "--json").stdout)
    seen = told["seen"]
    assert {*seen["silent"], *seen["lost"]} == {dc.node(3).address}
    assert (seen["all_reduce_nodes"], seen["all_reduce_error"]) == (2, None)
