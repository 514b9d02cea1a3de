"""The data order: (seed, epoch, step) -> which samples. Pure arithmetic, independent of the number of workers.

An epoch's shards are permuted, their samples permuted within them, and laid end to end as one line of N samples. The
line is cut into L *lanes* of equal length (within one sample); a shard at a cut belongs to two lanes. The epoch's
sequence takes one sample from each lane in turn: its position g is lane g mod L, offset g div L. Global batch t is
positions [t B, (t + 1) B); worker w of W takes those with g mod W = w, which are whole lanes where W divides L.
The last N mod B positions fill no batch and are left out of this epoch.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

_SHARDS, _SAMPLES = 0, 1  # streams of the random numbers: one draw never feeds two purposes


def random_bits(count: int, *key: int) -> np.ndarray:
    """`count` uint64 that depend on `key` alone, the same on every machine and in every version of numpy.

    PCG64's raw stream, seeded through SeedSequence: numpy guarantees both (NEP 19), unlike Generator.permutation.
    """
    return np.random.PCG64(np.random.SeedSequence(key)).random_raw(count)


def permutation(count: int, *key: int) -> np.ndarray:
    """A uniform permutation of range(count) as int64 [count], by `key` alone."""
    return np.argsort(random_bits(count, *key), kind="stable")


@dataclass(frozen=True)
class EpochOrder:
    """The order in which one epoch goes through the samples."""

    shard_samples: tuple[int, ...]
    """Samples of each shard, in order of the manifest."""
    lanes: int
    seed: int
    epoch: int

    @property
    def samples(self) -> int:
        """N, the samples of the epoch."""
        return sum(self.shard_samples)

    def locate(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the sequence, int64 [n] in [0, N), as (shard index, sample index in it), each int64 [n]."""
        shards, within = self.slots(positions)
        samples = np.empty_like(within)
        for shard in np.unique(shards):
            here = shards == shard
            samples[here] = self._samples_of(int(shard))[within[here]]
        return shards, samples

    def slots(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `locate`, without the shuffle within a shard: (shard index, place in its permuted order)."""
        permuted_shards, ends = _line(self.shard_samples, self.seed, self.epoch)
        places = self._places(np.asarray(positions, dtype=np.int64))
        order = np.searchsorted(ends, places, side="right")
        starts = ends[order] - np.asarray(self.shard_samples)[permuted_shards[order]]
        return permuted_shards[order], places - starts

    def _places(self, positions: np.ndarray) -> np.ndarray:
        """Where on the line of N samples each position lies."""
        lane, offset = positions % self.lanes, positions // self.lanes
        length, longer = divmod(self.samples, self.lanes)  # the first `longer` lanes have one sample more
        return lane * length + np.minimum(lane, longer) + offset

    def _samples_of(self, shard: int) -> np.ndarray:
        return _shard_permutation(self.shard_samples[shard], self.seed, self.epoch, shard)


@lru_cache(maxsize=4)
def _line(shard_samples: tuple[int, ...], seed: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    permuted = permutation(len(shard_samples), seed, epoch, _SHARDS)
    return permuted, np.cumsum(np.asarray(shard_samples, dtype=np.int64)[permuted])


@lru_cache(maxsize=256)
def _shard_permutation(samples: int, seed: int, epoch: int, shard: int) -> np.ndarray:
    return permutation(samples, seed, epoch, _SAMPLES, shard)


def steps_per_epoch(samples: int, global_batch_size: int) -> int:
    """Full global batches in an epoch."""
    return samples // global_batch_size


def batch_positions(step: int, global_batch_size: int, rank: int = 0, world_size: int = 1) -> np.ndarray:
    """Positions, rising, that reader `rank` of `world_size` takes of the epoch's global batch `step`; int64 [n].

    n is the same for all readers where world_size divides the batch, and differs by one at most elsewhere.
    """
    start = step * global_batch_size
    first = start + (rank - start) % world_size
    return np.arange(first, start + global_batch_size, world_size, dtype=np.int64)


def validation_range(samples: int, rank: int, world_size: int) -> range:
    """The samples that `rank` evaluates, in order of the manifest: each on one rank, equal shares within one."""
    return range(samples * rank // world_size, samples * (rank + 1) // world_size)


def choose_lanes(allowed_workers: list[int], samples: int) -> int:
    """Number of lanes for a run: a multiple of 12 and of every allowed number of workers, as far as is reasonable.

    Any number is correct; one that the workers divide lets each read only its own lanes. Counts that would push the
    lanes past 16 for each worker are passed over, largest first served. Never more than there are samples.
    """
    ceiling = 16 * max(12, *allowed_workers)
    lanes = int(np.lcm(12, max(allowed_workers)))
    for workers in sorted(allowed_workers, reverse=True):
        wider = int(np.lcm(lanes, workers))
        if wider <= ceiling:
            lanes = wider
    return min(lanes, samples)
