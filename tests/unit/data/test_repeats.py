"""Repeated augmentation: each item several times a batch, once a round, the same for any number of readers."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scenerec.data.order import batch_positions
from scenerec.data.repeats import Repeats

batches = st.integers(1, 96)
lanes = st.integers(1, 48)
repeats = st.integers(1, 6)


@given(batches, lanes, repeats)
def test_each_item_of_a_batch_is_in_it_so_often_at_least(batch: int, lanes: int, repeats: int) -> None:
    assume(repeats <= batch)
    taking = Repeats(repeats, batch, lanes)
    items = taking.items(0, 2, 5, batch_positions(2, batch))
    different, counts = np.unique(items, return_counts=True)
    assert len(different) == taking.items_per_batch
    assert repeats <= counts.min() <= counts.max() <= counts.min() + 1
    assert taking.items_per_batch > 0.9 * (batch // repeats)


@given(batches, lanes, repeats, st.integers(1, 5), st.integers(0, 3))
def test_a_round_has_each_item_in_one_batch(batch: int, lanes: int, repeats: int, steps: int, turn: int) -> None:
    assume(repeats <= batch)
    taking = Repeats(repeats, batch, lanes)
    epochs = range(turn * repeats, (turn + 1) * repeats)
    assert {taking.round_of(epoch) for epoch in epochs} == {turn}
    at = [(epoch, step) for epoch in epochs for step in range(steps)]
    seen = [set(taking.items(*where, steps, batch_positions(where[1], batch)).tolist()) for where in at]
    assert sorted(item for items in seen for item in items) == list(range(repeats * steps * taking.items_per_batch))
    assert repeats * steps * taking.items_per_batch <= steps * batch  # which the order of an epoch has
    assert [min(items) for items in seen] == [taking.first_item(*where, steps) for where in at]


@given(batches, lanes, st.integers(1, 4), st.integers(0, 4))
def test_without_repeats_an_item_is_a_position(batch: int, lanes: int, steps: int, epoch: int) -> None:
    taking, step = Repeats(1, batch, lanes), steps - 1
    positions = batch_positions(step, batch)
    assert taking.items(epoch, step, steps, positions).tolist() == positions.tolist()
    assert (taking.round_of(epoch), taking.first_item(epoch, step, steps)) == (epoch, step * batch)
    assert taking.parts(7) == 7


@given(batches, lanes, repeats, st.integers(1, 12))
def test_readers_have_the_copies_of_their_own_items(batch: int, lanes: int, repeats: int, readers: int) -> None:
    assume(repeats <= batch)
    taking = Repeats(repeats, batch, lanes)
    parts = taking.parts(readers)
    assert parts in (1, readers)
    for reader in range(readers):
        positions = batch_positions(1, batch, reader, readers)
        items = taking.items(1, 1, 3, positions)
        assert set((items % parts).tolist()) <= {reader % parts}


@pytest.mark.parametrize(("batch", "repeats", "items"), [(2048, 3, 672), (1024, 3, 320), (1024, 4, 256), (30, 3, 10)])
def test_numbers_of_workers_that_divide_batch_and_lanes_divide_the_items(batch: int, repeats: int, items: int) -> None:
    taking = Repeats(repeats, batch, lanes=96)
    assert taking.items_per_batch == items
    common = math.gcd(batch, 96)
    assert batch < 100 or all(taking.parts(n) == n for n in range(1, common + 1) if common % n == 0)


def test_the_items_are_frozen() -> None:
    """A resume must find the items that the run began with, in every later version."""
    taking = Repeats(3, 10, 4)
    assert taking.items(4, 1, 2, np.arange(10, 20)).tolist() == [9, 10, 11, 9, 10, 11, 9, 10, 11, 9]
