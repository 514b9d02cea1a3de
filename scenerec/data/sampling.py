"""How often an epoch takes each sample, where that is not once: class-balanced sampling, and mixtures of sets.

Each class of each set has a share of the epoch's N items, and so a whole number of them. Its samples sit on a wheel; an
epoch takes its items one after another from where the last epoch stopped. All of it is arithmetic with whole numbers on
the manifest, so every reader comes to the same, and what an epoch takes of a shard is known before it is fetched.
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np

from scenerec.data.labels import indices_of
from scenerec.data.manifest import Manifest, Shard
from scenerec.data.order import random_bits
from scenerec.data.shard import Sample

Key = TypeVar("Key")

_WHEELS = 3  # the place of this stream among order.py's
_PRECISION = 2**20  # of the powers of class counts: rounded, so that no machine's last bit matters
_GOLDEN = (math.sqrt(5) - 1) / 2


class EpochItems:
    """What one epoch takes of each shard. An item is one taking of a sample."""

    def __init__(self, repeats: np.ndarray, shard_starts: np.ndarray) -> None:
        self.repeats = repeats
        """How often each sample is taken, int64 [N]; by shard, in it by class index, in it by place."""
        self.shard_starts = shard_starts
        """Where each shard begins in it, int64 [shards]."""
        self.shard_items: tuple[int, ...] = tuple(np.add.reduceat(repeats, shard_starts).tolist())
        """Items of each shard."""
        self._indices: dict[int, np.ndarray] = {}

    def sample_indices(self, shard: int, content: Sequence[Sample]) -> np.ndarray:
        """Which sample of a shard, whose samples are `content`, each of its items is; int64 [items]."""
        if shard not in self._indices:
            labels = [index for sample in content for index in indices_of(sample.label)]  # one each: `Sampling`
            by_class = np.argsort(np.array(labels), kind="stable")
            start = self.shard_starts[shard]
            self._indices[shard] = np.repeat(by_class, self.repeats[start : start + len(content)])
        return self._indices[shard]


class _Wheel(NamedTuple):
    """The samples of a class of a set, in order of the shards. A turn takes them in strides, which spreads them."""

    ends: np.ndarray
    """Where the class's samples of each shard end on the wheel, int64 [shards that have any]."""
    shifts: np.ndarray
    """What is added to a place on the wheel for its place in `EpochItems.repeats`, int64 [the same]."""
    items: int
    """Items of an epoch."""
    start: int
    """How many strides from place 0 the first epoch begins."""

    def extra(self, epoch: int) -> np.ndarray:
        """The samples that `epoch` takes once more than it takes them all, as places in `EpochItems.repeats`."""
        size = int(self.ends[-1])
        stride = round(size * _GOLDEN)
        while math.gcd(stride, size) > 1:
            stride += 1
        strides = (self.start + epoch * self.items) % size + np.arange(self.items % size)
        places = strides * stride % size
        return places + self.shifts[np.searchsorted(self.ends, places, side="right")]


class Sampling:
    """How a run takes the samples of sets of shards, laid one after another. A sample has one label.

    Set s has the share weights[s] / sum(weights) of an epoch. In it, class c has a share in proportion to
    n_c ** (1 - balance), n_c being its number of samples there: 0 leaves the classes as they are, 1 gives all the same,
    0.5 is square-root sampling (Mahajan et al. 2018). An epoch has as many items as there are samples. Over any number
    of epochs no sample is taken more than once more than another of its class and set.
    """

    def __init__(self, sets: Sequence[Sequence[Shard]], weights: Sequence[float], balance: float, seed: int) -> None:
        rows = [
            (number, index, shard.class_counts[index])
            for number, shards in enumerate(sets)
            for shard in shards
            for index in sorted(shard.class_counts)
        ]
        cells = np.array(rows, dtype=np.int64)
        starts = np.cumsum(cells[:, 2]) - cells[:, 2]
        samples = np.array([shard.samples for shards in sets for shard in shards], dtype=np.int64)
        self._shard_starts = np.cumsum(samples) - samples
        self._always = np.zeros(samples.sum(), dtype=np.int64)
        self._wheels: list[_Wheel] = []
        order = np.lexsort((cells[:, 1], cells[:, 0]))
        groups = np.split(order, np.flatnonzero(np.any(np.diff(cells[order, :2], axis=0), axis=1)) + 1)
        counts = {(int(cells[group[0], 0]), int(cells[group[0], 1])): int(cells[group, 2].sum()) for group in groups}
        items = _class_items(counts, share_out(len(self._always), dict(enumerate(map(Fraction, weights)))), balance)
        for group, (key, size) in zip(groups, counts.items(), strict=True):
            if size:
                ends = np.cumsum(cells[group, 2])
                start = int(random_bits(1, seed, 0, _WHEELS, *key)[0]) % size
                self._wheels.append(_Wheel(ends, starts[group] - ends + cells[group, 2], items[key], start))
                for cell in group:
                    self._always[starts[cell] : starts[cell] + cells[cell, 2]] = items[key] // size
        self.epoch = lru_cache(maxsize=2)(self._epoch)
        """What an epoch takes; the last two are kept."""

    def _epoch(self, epoch: int) -> EpochItems:
        repeats = self._always.copy()
        for wheel in self._wheels:
            repeats[wheel.extra(epoch)] += 1
        return EpochItems(repeats, self._shard_starts)


def epoch_class_counts(sets: Sequence[Manifest], weights: Sequence[float], balance: float) -> np.ndarray:
    """Images of each class that an epoch takes of sets of the same classes, int64 [classes], as `Sampling` does."""
    counts = {
        (number, index): count
        for number, manifest in enumerate(sets)
        for index, count in enumerate(manifest.class_counts.tolist())
    }
    items = _class_items(counts, share_out(sum(counts.values()), dict(enumerate(map(Fraction, weights)))), balance)
    return np.array([sum(items[number, index] for number in range(len(sets))) for index in range(len(sets[0].classes))])


def share_out(total: int, weights: Mapping[Key, Fraction]) -> dict[Key, int]:
    """`total` items in parts in proportion to `weights`: each rounded down or up, by largest remainder."""
    sum_of_weights = sum(weights.values())
    exact = {key: total * weight / sum_of_weights for key, weight in weights.items()}
    parts = {key: math.floor(part) for key, part in exact.items()}
    largest_remainder_first = sorted(parts, key=lambda key: parts[key] - exact[key])
    for key in largest_remainder_first[: total - sum(parts.values())]:
        parts[key] += 1
    return parts


def _class_items(
    counts: Mapping[tuple[int, int], int], set_items: Mapping[int, int], balance: float
) -> dict[tuple[int, int], int]:
    """The items of each (set, class) in an epoch, by its number of samples and the items of each set."""
    items: dict[tuple[int, int], int] = {}
    for number, total in set_items.items():
        powers = {
            key: Fraction(round(count ** (1 - balance) * _PRECISION) if count else 0)
            for key, count in counts.items()
            if key[0] == number
        }
        items |= share_out(total, powers)
    return items
