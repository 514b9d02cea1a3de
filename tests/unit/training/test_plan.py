"""The plan: what a config, its data and a cluster come to, and what is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.config.train import TrainConfig
from scenerec.data.manifest import Manifest, Shard
from scenerec.errors import PlanError
from scenerec.training.plan import NodeResources, Plan, resolve


def manifest(samples: int = 1000, classes: tuple[str, ...] = ("beach", "forest")) -> Manifest:
    counts = {index: samples // len(classes) for index in range(len(classes))}
    counts[0] += samples - sum(counts.values())
    shard = Shard(key="000000.tar", size_bytes=10, sha256="0" * 64, samples=samples, class_counts=counts)
    return Manifest(classes=classes, shards=(shard,))


def config(**blocks: Any) -> TrainConfig:
    document: dict[str, Any] = {
        "kind": "train",
        "name": "test",
        "framework": "torch",
        "data": {"train": "/train", "val": "/val"},
        "model": {"arch": "resnet50"},
        "optimize": {"epochs": 3, "global_batch_size": 64, "lr": 0.1},
        "output": "/runs",
    }
    for name, value in blocks.items():
        document[name] = {**document.get(name, {}), **value} if isinstance(value, dict) else value
    return TrainConfig.model_validate(document)


def plan(nodes: list[NodeResources] | None = None, resumed_lanes: int | None = None, **blocks: Any) -> Plan:
    return resolve(config(**blocks), manifest(), manifest(100), nodes, resumed_lanes)


def test_it_says_what_will_happen() -> None:
    found = plan(scale={"workers": 8, "cpus_per_worker": 4})
    assert (found.batch_per_worker, found.steps_per_epoch, found.total_steps, found.dropped_per_epoch) == (
        8,
        15,
        45,
        40,
    )
    assert (found.workers, found.lanes, found.decode_processes) == ((8,), 24, 3)
    assert dict(found.rows())["batch"] == "64 = 8 on each of 8 worker(s)"


@given(st.integers(1, 200), st.integers(1, 16), st.integers(1, 4))
def test_a_plan_shares_out_the_batch_evenly_or_is_refused(batch: int, workers: int, pieces: int) -> None:
    optimize = {"global_batch_size": batch, "accumulate_steps": pieces}
    if batch % (workers * pieces):
        with pytest.raises(PlanError, match=r"not divisible by scale\.workers"):
            plan(optimize=optimize, scale={"workers": workers})
    else:
        found = plan(optimize=optimize, scale={"workers": workers})
        assert found.batch_per_worker * workers == batch
        assert found.lanes % workers == 0


def test_an_elastic_job_allows_the_counts_that_divide_the_batch() -> None:
    found = plan(scale={"workers": {"min": 3, "max": 9}})
    assert found.workers == (4, 8)
    assert found.lanes % 8 == 0


def test_a_resumed_run_keeps_its_lanes() -> None:
    assert plan(resumed_lanes=60, scale={"workers": 2}).lanes == 60


@pytest.mark.parametrize(
    ("nodes", "fits"),
    [
        ([NodeResources(8, 2), NodeResources(8, 2)], True),
        ([NodeResources(16, 4)], True),
        ([NodeResources(16, 0), NodeResources(2, 4)], False),  # enough of both, but not side by side
        ([NodeResources(15, 4)], False),
        ([], False),
    ],
)
def test_workers_must_find_room_on_nodes(nodes: list[NodeResources], fits: bool) -> None:
    scale = {"workers": 4, "gpus_per_worker": 1, "cpus_per_worker": 4}
    if fits:
        assert plan(nodes, scale=scale).workers == (4,)
    else:
        with pytest.raises(PlanError, match=r"the cluster has room for [0-3] "):
            plan(nodes, scale=scale)


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [
        (manifest(), manifest(classes=("beach", "desert")), "'desert' is in one of them only"),
        (manifest(), manifest(classes=("forest", "beach")), "the order differs"),
        (manifest(10), manifest(), "64 exceeds the 10 samples"),
        (
            manifest(200, ("a", *(f"c{i}" for i in range(300)))),
            manifest(400, ("a", *(f"c{i}" for i in range(300)))),
            "'c0' has no image",
        ),
    ],
)
def test_data_must_fit(train: Manifest, val: Manifest, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        resolve(config(), train, val)


@pytest.mark.parametrize(
    ("lanes", "message"), [(3, "4 workers need at least as many lanes"), (2000, "exceed the 1000")]
)
def test_lanes_must_suit_workers_and_data(lanes: int, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        plan(data={"lanes": lanes}, scale={"workers": 4})
