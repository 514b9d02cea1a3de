"""The data order: every sample once, the same global batches for any number of workers."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenerec.data.order import (
    EpochOrder,
    batch_positions,
    choose_lanes,
    permutation,
    random_bits,
    steps_per_epoch,
    validation_range,
)

FROZEN_BITS = [8271799387826207682, 7948369750201702571]
FROZEN_PERMUTATION = [6, 3, 4, 0, 2, 7, 5, 1]
FROZEN_ORDER = [(1, 1), (2, 2), (0, 2), (1, 2), (2, 1), (0, 1), (1, 0), (2, 3), (0, 0), (2, 0), (0, 3), (0, 4)]

shard_sizes = st.lists(st.integers(1, 40), min_size=1, max_size=12).map(tuple)


@st.composite
def orders(draw: st.DrawFn) -> EpochOrder:
    shards = draw(shard_sizes)
    lanes = draw(st.integers(1, min(sum(shards), 30)))
    return EpochOrder(shards, lanes, seed=draw(st.integers(0, 2**32 - 1)), epoch=draw(st.integers(0, 500)))


def identities(order: EpochOrder, positions: np.ndarray) -> list[tuple[int, int]]:
    return list(zip(*(array.tolist() for array in order.locate(positions)), strict=True))


@given(orders())
def test_an_epoch_has_every_sample_exactly_once(order: EpochOrder) -> None:
    seen = identities(order, np.arange(order.samples))
    assert sorted(seen) == [(shard, i) for shard, n in enumerate(order.shard_samples) for i in range(n)]


@given(orders(), st.sampled_from([1, 2, 3, 4, 8]), st.integers(1, 48))
def test_global_batches_do_not_depend_on_the_number_of_workers(order: EpochOrder, workers: int, batch: int) -> None:
    for step in range(steps_per_epoch(order.samples, batch)):
        alone = identities(order, batch_positions(step, batch))
        shares = [batch_positions(step, batch, rank, workers) for rank in range(workers)]
        assert sorted(np.concatenate(shares)) == list(range(step * batch, (step + 1) * batch))
        assert sorted(alone) == sorted(sample for share in shares for sample in identities(order, share))


@given(st.integers(0, 1000), st.integers(1, 200), st.integers(1, 40))
def test_shares_of_a_batch_differ_by_one_at_most(step: int, batch: int, workers: int) -> None:
    sizes = [len(batch_positions(step, batch, rank, workers)) for rank in range(workers)]
    assert sum(sizes) == batch
    assert max(sizes) - min(sizes) <= (batch % workers > 0)


@given(st.integers(0, 1000), st.integers(1, 200), st.integers(1, 40))
def test_a_worker_takes_the_positions_of_its_rank(step: int, batch: int, workers: int) -> None:
    """Those that leave its rank when divided by the number of workers, in every batch: a lane keeps its reader."""
    positions = range(step * batch, (step + 1) * batch)
    assert batch_positions(step, batch).tolist() == list(positions)
    for rank in range(workers):
        expected = [position for position in positions if position % workers == rank]
        assert batch_positions(step, batch, rank, workers).tolist() == expected


@given(orders())
def test_workers_that_divide_the_lanes_read_whole_lanes(order: EpochOrder) -> None:
    for workers in [w for w in range(1, order.lanes + 1) if order.lanes % w == 0]:
        lanes_of = [set((batch_positions(0, order.samples, r, workers) % order.lanes).tolist()) for r in range(workers)]
        assert sum(len(lanes) for lanes in lanes_of) == order.lanes


@given(orders())
def test_a_lane_reads_each_of_its_shards_in_one_run(order: EpochOrder) -> None:
    for lane in range(order.lanes):
        shards = order.slots(np.arange(lane, order.samples, order.lanes))[0].tolist()
        changes = sum(a != b for a, b in pairwise(shards))
        assert changes == len(set(shards)) - 1


def test_epochs_and_seeds_differ() -> None:
    base = identities(EpochOrder((50, 50), 4, 0, 0), np.arange(100))
    assert identities(EpochOrder((50, 50), 4, 0, 1), np.arange(100)) != base
    assert identities(EpochOrder((50, 50), 4, 1, 0), np.arange(100)) != base


def test_the_order_is_frozen() -> None:
    """A resume must find the order that the run began with, in every later version."""
    assert random_bits(2, 1, 2).tolist() == FROZEN_BITS
    assert permutation(8, 7).tolist() == FROZEN_PERMUTATION
    assert identities(EpochOrder((5, 3, 4), 3, 11, 2), np.arange(12)) == FROZEN_ORDER


@given(st.integers(1, 500), st.integers(1, 40))
def test_validation_covers_each_sample_once(samples: int, workers: int) -> None:
    ranges = [validation_range(samples, rank, workers) for rank in range(workers)]
    assert [i for r in ranges for i in r] == list(range(samples))
    assert max(map(len, ranges)) - min(map(len, ranges)) <= 1


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
def test_lanes(workers: list[int], lanes: int) -> None:
    assert choose_lanes(workers, 10**6) == lanes


@settings(max_examples=50)
@given(st.lists(st.integers(1, 64), min_size=1, max_size=20, unique=True), st.integers(1, 10**6))
def test_lanes_suit_the_largest_number_of_workers(workers: list[int], samples: int) -> None:
    lanes = choose_lanes(workers, samples)
    assert 1 <= lanes <= samples
    assert lanes == samples or lanes % max(workers) == 0
    assert lanes <= 16 * max(12, *workers)
