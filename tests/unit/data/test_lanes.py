"""How many lanes a run gets, and what is then fetched: counted against readers that go through an epoch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenerec.data.lanes import choose_lanes, fetched_share
from scenerec.data.order import EpochOrder

# 1.8 million images in shards of 64 MB: how many fit in one varies.
LARGE_SAMPLES = (2571 + np.round(np.random.default_rng(0).normal(0, 60, 700)).astype(int)).tolist()
LARGE_BYTES = [64_000_000] * 700

sets = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 9)), min_size=1, max_size=12)


def large_share(workers: int, nodes: int | None = None) -> float:
    lanes = choose_lanes([workers], LARGE_SAMPLES, LARGE_BYTES)
    return fetched_share(LARGE_SAMPLES, LARGE_BYTES, lanes, workers, nodes)


@pytest.mark.parametrize("workers", range(1, 65))
def test_up_to_64_workers_fetch_a_large_set_once(workers: int) -> None:
    assert 1 <= large_share(workers) <= 1.1


def test_512_workers_on_64_nodes_fetch_a_large_set_once() -> None:
    assert large_share(512, nodes=64) <= 1.1
    assert large_share(512, nodes=256) <= 1.5


def test_512_workers_that_share_nothing_fetch_as_little_as_whole_shards_allow() -> None:
    """700 + 512 - 1 shards: a bipartite graph of shards and equal shares that is connected has so many edges."""
    assert large_share(512) == pytest.approx(1211 / 700, abs=0.01)


def fetched_by_going_through(samples: list[int], sizes: list[int], lanes: int, readers: int) -> int:
    """Bytes that readers fetch who keep a shard as long as their next sample of any lane is of it."""
    order, fetched = EpochOrder(tuple(samples), lanes, 0, 0), 0
    line = np.repeat(np.arange(len(samples)), samples)
    for reader in range(readers):
        mine = [
            g for g in range(order.samples) if g % lanes % np.gcd(lanes, readers) == reader % np.gcd(lanes, readers)
        ]
        rounds: dict[int, set[int]] = {}
        for position in mine:
            rounds.setdefault(position // lanes, set()).add(int(line[order._places(np.array([position]))[0]]))
        held: set[int] = set()
        for shards in rounds.values():
            fetched += sum(sizes[shard] for shard in shards - held)
            held = shards
    return fetched


@settings(max_examples=50)
@given(sets, st.integers(1, 24), st.integers(1, 9))
def test_the_share_is_what_readers_fetch(shards: list[tuple[int, int]], lanes: int, readers: int) -> None:
    samples, sizes = map(list, zip(*shards, strict=True))
    lanes = min(lanes, sum(samples))
    expected = fetched_by_going_through(samples, sizes, lanes, readers) / sum(sizes)
    assert fetched_share(samples, sizes, lanes, readers) == pytest.approx(expected)


@given(sets, st.integers(1, 24), st.integers(1, 24), st.integers(1, 24))
def test_nodes_fetch_what_their_readers_need_once(
    shards: list[tuple[int, int]], lanes: int, readers: int, nodes: int
) -> None:
    samples, sizes = map(list, zip(*shards, strict=True))
    lanes, nodes = min(lanes, sum(samples)), min(nodes, readers)
    line = np.repeat(np.arange(len(samples)), samples)
    order = EpochOrder(tuple(samples), lanes, 0, 0)
    positions = np.arange(order.samples)
    groups = np.gcd(lanes, readers)
    needed = set()
    for reader in range(readers):
        mine = positions[positions % lanes % groups == reader % groups]
        needed |= {(reader * nodes // readers, shard) for shard in line[order._places(mine)].tolist()}
    expected = sum(sizes[shard] for _, shard in needed) / sum(sizes)
    assert fetched_share(samples, sizes, lanes, readers, nodes) == pytest.approx(expected)


def lanes_of(workers: list[int], shards: int) -> int:
    return choose_lanes(workers, [100] * shards, [1] * shards)


@pytest.mark.parametrize(
    ("workers", "lanes"),
    [
        ([1], 12),
        ([2], 12),
        ([8], 24),
        ([32], 96),
        ([8, 16, 32], 96),
        ([5], 60),
        ([5, 6], 60),
        ([5, 7, 8], 168),  # 8 before 5, with which they would be 840
        ([16, 21], 336),  # 16 for each of 21 at most
        ([17, 24], 24),  # not 408, 17 for each of 24
    ],
)
def test_lanes_of_a_set_of_very_many_shards(workers: list[int], lanes: int) -> None:
    assert lanes_of(workers, 5001) == lanes


@pytest.mark.parametrize(
    ("workers", "lanes"),
    [
        ([1], 12),
        ([5], 60),
        ([8], 24),
        ([11], 22),  # 132 lanes would cut 131 of 701 shards
        ([64], 64),
        ([16, 32, 64], 64),
        ([48, 64], 192),  # 48 workers would share 64 lanes in threes
    ],
)
def test_lanes_cut_few_shards(workers: list[int], lanes: int) -> None:
    assert lanes_of(workers, 701) == lanes


@settings(max_examples=50)
@given(st.lists(st.integers(1, 64), min_size=1, max_size=20, unique=True), st.lists(st.integers(1, 99), min_size=1))
def test_lanes_suit_the_largest_number_of_workers(workers: list[int], samples: list[int]) -> None:
    lanes = choose_lanes(workers, samples, [1] * len(samples))
    assert 1 <= lanes <= sum(samples)
    assert lanes == sum(samples) or lanes % max(workers) == 0
    assert lanes <= 16 * max(12, *workers)
