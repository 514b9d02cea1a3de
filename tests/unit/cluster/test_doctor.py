"""What was seen on nodes is judged in lines with remedies; and a node is looked at as it is."""

import os
import socket
from pathlib import Path

import pytest

from cluster import serve_proxy
from cluster.doctor.examine import examine, open_ports, versions
from cluster.doctor.finding import Client, Level, Line
from cluster.doctor.judge import judge
from cluster.doctor.report import ClusterReport, Gpu, NodeReport, OpenPort, StoreReport

VERSIONS = {"python": "3.11.7", "ray": "2.60.0", "torch": "2.15.0", "tensorflow": "2.21.0"}
CLIENT = Client({**VERSIONS, "python": "3.11.9"}, "http://10.0.0.1:8265")


def node(number: int = 1, **more: object) -> NodeReport:
    """A node without faults."""
    seen = {
        "address": f"10.0.0.{number}",
        "name": f"node{number}",
        "name_address": f"10.0.0.{number}",
        "interface": "eth0",
        "versions": VERSIONS,
        "disk_free_bytes": 10**12,
        "disk_path": "/tmp/ray",
        "shm_free_bytes": 10**10,
        "object_store_bytes": 10**9,
        "open_files": 1_048_576,
        "token": True,
        **more,
    }
    return NodeReport.model_validate(seen)


def lines(*nodes: NodeReport, **more: object) -> list[Line]:
    return judge(ClusterReport.model_validate({"nodes": nodes, **more}), CLIENT)


def test_what_is_as_it_should_be_is_one_line_for_all_nodes() -> None:
    found = lines(node(1), node(2), node(3), node(4))
    assert {line.level for line in found} == {Level.OK}
    (versions_line,) = [line for line in found if line.check == "versions"]
    assert versions_line.text == "python 3.11.7, ray 2.60.0, torch 2.15.0, tensorflow 2.21.0, as here"
    assert versions_line.where == "10.0.0.1, 10.0.0.2, 10.0.0.3 and 1 more"
    assert len({line.check for line in found if line.nodes}) == len([line for line in found if line.nodes])


GPU = Gpu(name="H200", memory_mb=143_000, driver="570.1")


@pytest.mark.parametrize(
    ("seen", "check", "level", "text"),
    [
        ({"versions": {**VERSIONS, "python": "3.12.1"}}, "versions", Level.FAULT, "python 3.12.1, here 3.11.9"),
        ({"versions": {**VERSIONS, "ray": "2.59.0"}}, "versions", Level.FAULT, "ray 2.59.0, here 2.60.0"),
        ({"versions": {"python": "3.11.1", "ray": "2.60.0", "torch": "2.15.0"}}, "versions", Level.WARNING,
         "tensorflow missing, here 2.21.0"),
        ({"gpus": [GPU, GPU], "ray_gpus": 1}, "GPUs", Level.WARNING, "2 H200 (driver 570.1); Ray offers 1"),
        ({"ray_gpus": 2}, "GPUs", Level.WARNING, "none; Ray offers 2"),
        ({"gpus": [GPU, GPU], "ray_gpus": 2}, "GPUs", Level.OK, "2 H200 (driver 570.1)"),
        ({"interface": None}, "address", Level.FAULT, "no interface of node1 has Ray's address 10.0.0.1"),
        ({"name_address": "127.0.1.1"}, "address", Level.WARNING, "its own name node1 is 127.0.1.1"),
        ({"clock_offset_s": 5.0}, "clocks", Level.WARNING, "5.0 s from the other nodes'"),
        ({"clock_offset_s": -90.0}, "clocks", Level.FAULT, "90.0 s from the other nodes'"),
        ({"clock_offset_s": 5.0, "clock_error_s": 6.0}, "clocks", Level.OK, "agree to a second"),
        ({"store_offset_s": 100.0}, "clocks", Level.WARNING, "100 s from the store's"),
        ({"store_offset_s": -1000.0}, "clocks", Level.FAULT, "1000 s from the store's"),
        ({"disk_free_bytes": 5 * 10**9}, "disk", Level.WARNING, "/tmp/ray: 5.0 GB free"),
        ({"disk_free_bytes": 10**8}, "disk", Level.FAULT, "/tmp/ray: 0.1 GB free"),
        ({"shm_free_bytes": 64 * 10**6}, "memory", Level.WARNING, "/dev/shm has 0.1 GB free, less than Ray's"),
        ({"open_files": 4096}, "open files", Level.WARNING, "4096 files and connections"),
        ({"open_files": 1024}, "open files", Level.FAULT, "1024 files and connections"),
        ({"niceness": 15}, "serving", Level.WARNING, "workers run at a low priority (15)"),
        ({"niceness": 15, "serve_variables_missing": tuple(serve_proxy.environment(Path("/p")))}, "serving", Level.OK,
         "not set up to serve"),
        ({"serve_variables_missing": ("RAY_SERVE_HAPROXY_RETRIES",)}, "serving", Level.WARNING, "by another version"),
        ({"token": False}, "token", Level.WARNING, "whoever reaches the node can run code on it"),
        ({"open_ports": [OpenPort(program="raylet", address="::", port=7)]}, "ports", Level.OK,
         "1 reachable by whoever reaches the node: raylet :::7"),
        ({"store": StoreReport(error="s3://b: no such bucket")}, "store", Level.FAULT, "s3://b: no such bucket"),
        ({"store": StoreReport(latency_s=0.3, read_bytes_per_s=1e8, write_bytes_per_s=1e8)}, "store", Level.WARNING,
         "reads 100 MB/s, writes 100 MB/s, answers in 300 ms"),
    ],
)  # fmt: skip
def test_what_is_not_is_told_with_its_node_and_a_remedy(
    seen: dict[str, object], check: str, level: Level, text: str
) -> None:
    (line,) = [
        line for line in lines(node(1, **seen), node(2), node(3)) if line.check == check and "10.0.0.1" in line.nodes
    ]
    assert (line.level, text in line.text) == (level, True), line
    assert bool(line.remedy) == (level is not Level.OK) or check == "serving"


def test_drivers_differ_between_nodes() -> None:
    newer = GPU.model_copy(update={"driver": "580.2"})
    found = lines(node(1, gpus=[GPU], ray_gpus=1), node(2, gpus=[newer], ray_gpus=1))
    assert [line.level for line in found if line.check == "GPUs"] == [Level.WARNING] * 2


def test_nodes_that_are_silent_or_lost_are_named() -> None:
    found = [line for line in lines(node(1), silent=["10.0.0.8"], lost=["10.0.0.9"]) if line.check == "nodes"]
    assert [(line.level, line.nodes) for line in found] == [
        (Level.FAULT, ("10.0.0.8",)),
        (Level.WARNING, ("10.0.0.9",)),
        (Level.OK, ()),
    ]


def test_a_port_that_is_open_on_an_embedded_cluster_is_a_warning() -> None:
    (line,) = [
        line
        for line in lines(node(address="127.0.0.1", open_ports=[OpenPort(program="python", address="0.0.0.0", port=5)]))
        if line.check == "ports"
    ]
    assert (line.level, line.text) == (Level.WARNING, "reachable from outside: python 0.0.0.0:5")


@pytest.mark.parametrize(
    ("measured", "level", "text"),
    [
        (
            {"all_reduce_bytes_per_s": 5e7, "all_reduce_nodes": 2},
            Level.WARNING,
            "2 nodes add up 50 MB/s of gradients (gloo)",
        ),
        (
            {"all_reduce_bytes_per_s": 5e9, "all_reduce_nodes": 2},
            Level.OK,
            "2 nodes add up 5000 MB/s of gradients (gloo)",
        ),
        ({"all_reduce_error": "gloo: connection refused"}, Level.FAULT, "gloo: connection refused"),
    ],
)
def test_adding_up_is_judged(measured: dict[str, object], level: Level, text: str) -> None:
    (line,) = [
        line for line in lines(node(1), node(2), all_reduce_backend="gloo", **measured) if line.check == "all-reduce"
    ]
    assert (line.level, line.text) == (level, text)


def test_a_node_is_looked_at_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "session").mkdir()
    seen = examine("127.0.0.1", str(tmp_path / "session"), None)
    assert (seen.interface, seen.name, seen.disk_path) == ("lo", socket.gethostname(), str(tmp_path))
    assert seen.versions == versions() and {"python", "ray", "torch", "tensorflow"} <= set(seen.versions)
    assert seen.disk_free_bytes > 0 and seen.open_files > 0 and seen.store is None
    assert examine("192.0.2.1", str(tmp_path), None).interface is None


def test_a_store_is_written_to_read_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    seen = examine("127.0.0.1", str(tmp_path), str(tmp_path / "store")).store
    assert seen is not None and seen.error is None
    assert seen.latency_s > 0 and seen.read_bytes_per_s > 0 and seen.write_bytes_per_s > 0
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    (tmp_path / "file").touch()
    refused = examine("127.0.0.1", str(tmp_path), str(tmp_path / "file")).store
    assert refused is not None and refused.error


def test_only_the_clusters_own_ports_beyond_the_loopback_are_listed() -> None:
    with socket.create_server(("0.0.0.0", 0)) as outside, socket.create_server(("127.0.0.1", 0)) as inside:
        ours = {each.port for each in open_ports("no such folder", os.getppid())}
        assert outside.getsockname()[1] in ours and inside.getsockname()[1] not in ours
        others = {each.port for each in open_ports("no such folder", os.getpid())}
        assert outside.getsockname()[1] not in others
