"""How long training waits for its batches, and what is fetched meanwhile."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic

import numpy as np

from scenerec.data.byte_count import ByteCount
from scenerec.training.learner import Batch
from scenerec.world import World


@dataclass
class DataUse:
    """What a stretch of training took of the input of one rank."""

    wait_s: float = 0.0
    """Seconds in which training waited for its next batch."""
    fetched_bytes: float = 0.0
    """Bytes of training shards that were fetched meanwhile, for these batches or later ones."""

    def over_ranks(self, world: World, sum_over_ranks: Callable[[np.ndarray], np.ndarray]) -> "DataUse":
        """The wait of the rank that waits longest, for whom the others then wait, and the bytes of all (collective)."""
        of_ranks = np.zeros((2, world.size))
        of_ranks[:, world.rank] = self.wait_s, self.fetched_bytes
        waits, fetched = sum_over_ranks(of_ranks.reshape(-1)).reshape(2, world.size)
        return DataUse(float(waits.max()), float(fetched.sum()))


class MeasuredBatches(Iterator[Batch], Generic[Batch]):
    """The batches of an input, with the time that is waited for them."""

    def __init__(self, batches: Iterator[Batch], fetched: ByteCount) -> None:
        self._batches, self._fetched = batches, fetched
        self._wait_s, self._taken_bytes = 0.0, fetched.total_bytes

    def __next__(self) -> Batch:
        asked_s = time.perf_counter()
        batch = next(self._batches)
        self._wait_s += time.perf_counter() - asked_s
        return batch

    def take(self) -> DataUse:
        """What has been used since the last call."""
        total_bytes = self._fetched.total_bytes
        use = DataUse(self._wait_s, total_bytes - self._taken_bytes)
        self._wait_s, self._taken_bytes = 0.0, total_bytes
        return use
