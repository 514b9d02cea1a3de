"""The wait for batches, measured by a clock of its own."""

from collections.abc import Iterator

import numpy as np
import pytest

from scenerec.data.byte_count import ByteCount
from scenerec.training import data_wait
from scenerec.training.data_wait import DataUse, MeasuredBatches
from scenerec.world import World
from tests.clock import Clock


class PerfClock(Clock):
    """Told as time.perf_counter tells it."""

    perf_counter = Clock.monotonic


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> PerfClock:
    clock = PerfClock()
    monkeypatch.setattr(data_wait, "time", clock)
    return clock


def slow_batches(clock: Clock, fetched: ByteCount) -> Iterator[int]:
    for batch in range(4):
        clock.sleep(2)
        fetched.add(100)
        yield batch


def test_only_the_wait_for_batches_counts(clock: PerfClock) -> None:
    fetched = ByteCount()
    fetched.add(7)  # by somebody else, before
    batches = MeasuredBatches(slow_batches(clock, fetched), fetched)
    assert batches.take() == DataUse()
    for _ in range(3):
        next(batches)
        clock.sleep(5)  # the step
    assert batches.take() == DataUse(wait_s=6, fetched_bytes=300)
    assert list(batches) == [3]
    assert batches.take() == DataUse(wait_s=2, fetched_bytes=100)


def test_the_longest_wait_and_all_bytes_count() -> None:
    uses = [DataUse(3, 10), DataUse(7, 20), DataUse(5, 30)]
    sent: list[np.ndarray] = []

    def sum_over_ranks(values: np.ndarray) -> np.ndarray:
        sent.append(values)
        return values

    for rank, use in enumerate(uses):
        use.over_ranks(World(rank, 3), sum_over_ranks)
    assert uses[0].over_ranks(World(0, 3), lambda values: np.sum(sent, axis=0)) == DataUse(7, 60)
    assert uses[1].over_ranks(World(), lambda values: values) == uses[1]
