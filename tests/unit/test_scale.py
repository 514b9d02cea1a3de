"""1.8 million images on 1 to 512 workers: what the product plans, and what the model of steps says of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.data.manifest import Manifest
from scenerec.data.order import EpochOrder, batch_positions, lane_pieces
from tests.bench.scale import A100_NODES, WORKERS, cells, large_set, simulate
from tests.bench.scale_model import Hardware, Workload, all_reduce_s, predict


@pytest.fixture(scope="module")
def data() -> Manifest:
    return large_set()


@pytest.mark.parametrize(("workers", "most_fetched"), [(1, 1.1), (8, 1.1), (64, 1.1), (512, 1.74)])
def test_a_large_set_is_planned_and_read_evenly(data: Manifest, workers: int, most_fetched: float) -> None:
    found = simulate(data, workers)
    assert found.fetched_share <= most_fetched
    assert found.busiest_share <= 1.3
    assert found.plan_bytes < 10e6
    assert found.held_bytes <= 64e6 * (found.lanes / workers + 2)
    lane, _, first, last = lane_pieces(data.shard_samples, found.lanes)
    lengths = np.bincount(lane, weights=last - first + 1)
    assert lengths.max() - lengths.min() <= 1
    shares = [len(batch_positions(3, found.global_batch_size, rank, workers)) for rank in range(workers)]
    assert set(shares) == {found.global_batch_size // workers}


@pytest.mark.parametrize("workers", WORKERS)
def test_what_is_planned_is_what_readers_go_through(data: Manifest, workers: int) -> None:
    """Of the first, the middle and the last reader; the shuffle changes the figure by little."""
    found = simulate(data, workers)
    order = EpochOrder(tuple(data.shard_samples.tolist()), found.lanes, seed=7, epoch=2)
    passages = [len(order.passages(reader, workers).shard) for reader in sorted({0, workers // 2, workers - 1})]
    mean = found.fetched_share * len(data.shards) / workers
    assert np.mean(passages) == pytest.approx(mean, rel=0.25)
    assert max(passages) <= mean * 1.3 + 1


def test_512_workers_wait_for_the_store_then_for_the_network_then_for_nothing(data: Manifest) -> None:
    assert [simulate(data, workers).prediction.limit for workers in WORKERS] == ["arithmetic"] * 3 + ["store"]
    cached = simulate(data, 512, cache_bytes=10**10)
    assert (cached.fetched_share <= 1.1, cached.prediction.limit) == (True, "exchange")
    faster = Hardware(node_bytes_per_s=50e9, store_bytes_per_s=50e9)
    wide = simulate(data, 512, hardware=faster, cache_bytes=10**10).prediction
    assert wide.efficiency > 0.95 > 0.5 > cached.prediction.efficiency
    assert cells(cached)["Limited by"] == "exchange"


def test_a_ring_sends_twice_the_bytes_over_the_slowest_link() -> None:
    hardware = Hardware(gpu_bytes_per_s=100.0, node_bytes_per_s=10.0, hop_s=0.0)
    assert all_reduce_s(1000, 1, hardware) == 0
    assert all_reduce_s(1000, 2, hardware) == pytest.approx(2 * 1 / 2 * 1000 / 100)
    assert all_reduce_s(1000, 8, hardware) == pytest.approx(2 * 7 / 8 * 1000 / 100)
    assert all_reduce_s(1000, 16, hardware) == pytest.approx(2 * 15 / 16 * 1000 / 10)
    hops = Hardware(hop_s=1.0, node_bytes_per_s=1e18, gpu_bytes_per_s=1e18)
    assert all_reduce_s(1, 2, hops) == pytest.approx(2)
    assert all_reduce_s(1, 512, hops) == pytest.approx(18)  # a tree


def test_a_step_is_as_long_as_the_longest_of_what_goes_on_side_by_side() -> None:
    work = Workload(1000, 10_000, parameters=25, slots=1, global_batch_size=100, steps_per_checkpoint=10)
    hardware = Hardware(100.0, 1, 1e9, 1e9, 0.0, store_bytes_per_s=1e9, writer_bytes_per_s=1e9)
    assert predict(work, 2, 1.0, hardware).step_s == pytest.approx(0.5)
    slow_network = predict(work, 2, 1.0, Hardware(100.0, 1, 1e9, 100.0, 0.0, 1e9, 1e9))
    assert (slow_network.limit, slow_network.exchange_s) == ("exchange", 1.0)
    assert slow_network.step_s == pytest.approx(0.5 / 3 + 1.0)  # it hides behind the backward pass alone
    slow_store = predict(work, 2, 1.5, Hardware(100.0, 1, 1e9, 1e9, 0.0, 1000.0, 1e9))
    assert (slow_store.limit, slow_store.step_s) == ("store", pytest.approx(1.5))
    slow_writer = predict(work, 2, 1.0, Hardware(100.0, 1, 1e9, 1e9, 0.0, 1e9, 10.0))
    assert (slow_writer.limit, slow_writer.checkpoint_s, slow_writer.step_s) == ("checkpoints", 20.0, 2.0)


@given(st.integers(1, 4096), st.integers(10**6, 10**9), st.floats(1, 4))
def test_more_workers_are_never_more_efficient_than_one(workers: int, parameters: int, share: float) -> None:
    work = Workload(1_800_000, 45 * 10**9, parameters, 1, 8192, 1000)
    found = predict(work, workers, share, A100_NODES)
    assert 0 < found.efficiency <= 1 + 1e-9
    assert found.step_s >= found.compute_s
