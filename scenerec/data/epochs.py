"""The epochs of a run over a set: in which order each takes its items, and which sample each item is."""

from collections.abc import Callable, Sequence

import numpy as np

from scenerec.data.order import EpochOrder
from scenerec.data.packed_set import PackedSet
from scenerec.data.sampling import Sampling
from scenerec.data.shard import Sample

SampleIndices = Callable[[int, Sequence[Sample]], np.ndarray]
"""The sample index of each item of a shard, int64 [items], by its index in the manifest and its samples."""


class Epochs:
    """What follows from a set, a seed, the lanes and `balance` alone. An epoch has as many items as the set samples.

    Of a single set whose classes are not balanced, an item is a sample: each is taken once.
    """

    def __init__(self, data: PackedSet, seed: int, lanes: int, balance: float = 0.0) -> None:
        self.seed, self.lanes = seed, lanes
        self._shard_samples: tuple[int, ...] = tuple(data.manifest.shard_samples.tolist())
        sets, weights = [part.manifest.shards for part, _ in data.parts], [weight for _, weight in data.parts]
        self._sampling = Sampling(sets, weights, balance, seed) if balance or len(sets) > 1 else None

    def order(self, epoch: int) -> EpochOrder:
        """The order of an epoch's items."""
        items = self._sampling.epoch(epoch).shard_items if self._sampling else self._shard_samples
        return EpochOrder(items, self.lanes, self.seed, epoch)

    def sample_indices(self, epoch: int) -> SampleIndices | None:
        """Which sample each item of an epoch is; None where the item's number is the sample's."""
        return self._sampling.epoch(epoch).sample_indices if self._sampling else None
