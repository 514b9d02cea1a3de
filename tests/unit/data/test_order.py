"""The data order: every sample once, the same global batches for any number of workers."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scenerec.data.order import (
    EpochOrder,
    batch_positions,
    permutation,
    random_bits,
    reader_lanes,
    steps_per_epoch,
    validation_range,
)

FROZEN_BITS = [8271799387826207682, 7948369750201702571]
FROZEN_PERMUTATION = [6, 3, 4, 0, 2, 7, 5, 1]
FROZEN_ORDER = [(1, 1), (2, 2), (0, 2), (1, 2), (2, 1), (0, 1), (1, 0), (2, 3), (0, 0), (2, 0), (0, 3), (0, 4)]

# An epoch may take nothing of a shard, where classes are balanced.
shard_sizes = st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(any).map(tuple)


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


def passages_by_going_through(
    order: EpochOrder, reader: int, readers: int, begin: int, end: int
) -> list[tuple[int, int, int]]:
    """What `passages` says, sample by sample."""
    first: dict[tuple[int, int], int] = {}
    last: dict[tuple[int, int], int] = {}
    for position in range(begin, end):
        if position % readers == reader:
            use = (position % order.lanes, int(order.slots(np.array([position]))[0][0]))
            first.setdefault(use, position)
            last[use] = position
    return [(use[1], first[use], last[use]) for use in first]


@given(orders(), st.integers(1, 12), st.data())
def test_passages_are_those_of_the_samples(order: EpochOrder, readers: int, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, order.samples))
    end = data.draw(st.integers(begin, order.samples))
    for reader in range(readers):
        found = order.passages(reader, readers, begin, end)
        assert list(found.rows()) == passages_by_going_through(order, reader, readers, begin, end)
        for position in found.first.tolist():
            in_use = np.count_nonzero((found.first <= position) & (position <= found.last))
            assert in_use <= reader_lanes(order.lanes, readers)


def test_a_large_epoch_is_planned_by_arithmetic() -> None:
    """1.8 million samples: 699 ends of shards and 11 of lanes, three at the same places, and no sample is looked at."""
    order = EpochOrder((2571,) * 700, lanes=12, seed=0, epoch=0)
    assert len(order.passages().first) == 700 + 12 - 4


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
