"""New versions on trial on a real cluster: one that fails at requests, one with a share of them; and pinned cores.

The tests share one application and change it in turn.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from cluster import loopback
from cluster.local import LocalCluster
from scenerec.inference.bundles.registry import Registry
from tests.patience import PATIENCE_S, wait_until
from tests.served import PICTURES, as_many, command, replica_pids, status_when
from tests.steady_load import SteadyLoad
from tests.tiny_bundle import make_tiny_bundle

REGISTRY = "s3://scenes/trial-models"
PORT = loopback.free_ports(("http",))["http"]
URL = f"http://127.0.0.1:{PORT}"
CONFIG = f"""\
kind: serve
name: trial
registry: {REGISTRY}
models:
  - name: tiny
    version: tiny@production
http: {{port: {PORT}, grpc_port: null, timeout_s: 40}}
scale: {{min_replicas: 2, max_replicas: 2, pin_cpus: true}}
rollout: {{poll_s: 0.5, max_failures: 3}}
"""
CANARY_WEIGHT = 0.3
CANARY = f"models=[{{name: tiny, version: 'tiny:1', canary: {{version: 'tiny:2', weight: {CANARY_WEIGHT}}}}}]"


@pytest.fixture(scope="module")
def registry(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """All versions answer their golden images; 3 answers no red photograph. Production stands at 1."""
    folder = tmp_path_factory.mktemp("bundles")
    registry = Registry(REGISTRY)
    registry.push(make_tiny_bundle(folder / "1"), "tiny")
    registry.push(make_tiny_bundle(folder / "2", scale=0.1), "tiny")
    registry.push(make_tiny_bundle(folder / "3", scale=0.2, fails_on_red=True), "tiny")
    registry.move("tiny", "production", 1, "test", None)
    return registry


@pytest.fixture(scope="module")
def config(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Deployed; ended after the file's tests, for it takes both CPUs."""
    file = tmp_path_factory.mktemp("config") / "serve.yaml"
    file.write_text(CONFIG)
    command("serve", "deploy", str(file))
    yield file
    command("serve", "stop", "trial")


def test_pinned_replicas_have_a_core_each(config: Path, cluster: LocalCluster) -> None:
    cores = [os.sched_getaffinity(pid) for pid in as_many(2, lambda: replica_pids(cluster, "trial"))]
    assert [len(each) for each in cores] == [1, 1]
    assert len(set.union(*cores)) == min(2, os.cpu_count() or 1)


def settled(told: dict[str, Any]) -> bool:
    """Whether no version is on its way in or out."""
    return len(told["models"]["tiny"]["serving"]) == 1


def test_a_version_that_fails_at_requests_is_rolled_back_and_none_is_lost(config: Path, registry: Registry) -> None:
    with SteadyLoad(URL, "tiny", PICTURES) as load:
        wait_until(lambda: load.tally.answered > 20)
        registry.move("tiny", "production", 3, "test", 1)
        told = status_when("trial", lambda told: told["models"]["tiny"]["refused"] != "" and settled(told))
        ones = load.tally.right["1"]
        wait_until(lambda: load.tally.right["1"] > ones + 50)
    assert load.tally.lost == []
    assert load.tally.right.keys() <= {"1", "3"}  # what 3 failed to answer, 1 did
    assert [placement["number"] for placement in told["models"]["tiny"]["serving"]] == ["1"]
    assert "requests, which other versions answered" in told["models"]["tiny"]["refused"]
    assert "rolled back" in [event["what"] for event in told["events"]]
    registry.move("tiny", "production", 1, "test", 3)


def versions_served(told: dict[str, Any]) -> list[list[str]]:
    """What each replica says that it serves."""
    return [sorted(each["serving"]) for each in told["served_by"].values()]


def test_a_canary_gets_its_share(config: Path) -> None:
    command("serve", "deploy", str(config), "--set", CANARY)
    with SteadyLoad(URL, "tiny", PICTURES) as load:
        status_when("trial", lambda told: versions_served(told) == [["tiny:1", "tiny:2"]] * 2)
        before = load.tally.right.copy()
        wait_until(lambda: load.tally.answered > before.total() + 1000)
        after = load.tally.right.copy()
    share = (after["2"] - before["2"]) / (after.total() - before.total())
    assert load.tally.lost == []
    assert share == pytest.approx(CANARY_WEIGHT, abs=0.06)  # four standard deviations
    named = requests.post(f"{URL}/v1/models/tiny/versions/2:predict", data=PICTURES["red"], timeout=PATIENCE_S)
    assert named.json()["version"] == "2"


def test_a_replica_of_two_cores_decodes_in_one_of_them(config: Path, cluster: LocalCluster) -> None:
    settings = ("scale.min_replicas=1", "scale.max_replicas=1", "scale.cpus_per_replica=2")
    command("serve", "deploy", str(config), *(part for setting in settings for part in ("--set", setting)))
    (pid,) = as_many(1, lambda: replica_pids(cluster, "trial"))
    assert len(os.sched_getaffinity(pid)) == min(2, os.cpu_count() or 1)
    with SteadyLoad(URL, "tiny", PICTURES, connections=8) as load:
        wait_until(lambda: load.tally.answered > 200)
    assert load.tally.lost == []
