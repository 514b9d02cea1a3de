"""The data order: (seed, epoch, step) -> which samples. Pure arithmetic, independent of the number of workers.

An epoch's shards are permuted, their samples permuted within them, and laid end to end as one line of N samples. The
line is cut into L *lanes* of equal length (within one sample); a shard at a cut belongs to two lanes. The epoch's
sequence takes one sample from each lane in turn: its position g is lane g mod L, offset g div L. Global batch t is
positions [t B, (t + 1) B); worker w of W takes those with g mod W = w, which are whole lanes where W divides L.
The last N mod B positions fill no batch and are left out of this epoch.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

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


class Pieces(NamedTuple):
    """The parts into which the ends of lanes and shards cut the line of an epoch, in order; each int64 [pieces]."""

    lane: np.ndarray
    shard: np.ndarray
    """Its place in order of the line."""
    first: np.ndarray
    """Offset in the lane of the piece's first sample."""
    last: np.ndarray
    """Offset in the lane of its last."""


def lane_pieces(line_samples: np.ndarray, lanes: int) -> Pieces:
    """The pieces of a line of shards with `line_samples` samples, int64 [shards], that is cut into lanes.

    A lane goes through its pieces one after another: of each shard it uses one piece, in one run.
    """
    ends = np.cumsum(line_samples)
    length, longer = divmod(int(ends[-1]), lanes)  # the first `longer` lanes have one sample more
    lane_starts = np.arange(lanes) * length + np.minimum(np.arange(lanes), longer)
    cuts = np.union1d(lane_starts, ends)
    starts = cuts[:-1]
    lane = np.searchsorted(lane_starts, starts, side="right") - 1
    shard = np.searchsorted(ends, starts, side="right")
    return Pieces(lane, shard, starts - lane_starts[lane], cuts[1:] - lane_starts[lane] - 1)


class Passages(NamedTuple):
    """A reader's ways through shards, in order of their first positions; each int64 [passages]."""

    shard: np.ndarray
    """Index of the shard in the manifest."""
    first: np.ndarray
    """First position that takes from it."""
    last: np.ndarray
    """Last position that does."""

    def rows(self) -> Iterator[tuple[int, int, int]]:
        """Shard, first and last position of each passage."""
        return zip(*(column.tolist() for column in self), strict=True)


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

    def passages(self, reader: int = 0, readers: int = 1, begin: int = 0, end: int | None = None) -> Passages:
        """What reader `reader` of `readers` takes from the positions [begin, end): a passage for each lane and shard.

        A shard at a cut of two lanes has two, with a pause between them. At no position does a reader have more
        passages than `reader_lanes`.
        """
        permuted_shards, _ = _line(self.shard_samples, self.seed, self.epoch)
        pieces = lane_pieces(np.asarray(self.shard_samples)[permuted_shards], self.lanes)
        # The reader takes the positions lane + lanes * offset that leave `reader` when divided by `readers`: of a lane
        # that has any, the offsets that leave `phase` when divided by `every`.
        shared = math.gcd(self.lanes, readers)
        every = readers // shared
        lane, shard, first, last = (column[(reader - pieces.lane) % shared == 0] for column in pieces)
        phase = (reader - lane) // shared * pow(self.lanes // shared, -1, every) % every
        first = np.maximum(first, -((lane - begin) // self.lanes))
        last = np.minimum(last, ((self.samples if end is None else end) - 1 - lane) // self.lanes)
        first += (phase - first) % every
        last -= (last - phase) % every
        passages = np.stack([permuted_shards[shard], lane + self.lanes * first, lane + self.lanes * last])
        passages = passages[:, first <= last]
        return Passages(*passages[:, np.argsort(passages[1])])

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


def reader_lanes(lanes: int, readers: int) -> int:
    """Lanes that each of `readers` reads from: its own where the readers divide the lanes, else shared ones."""
    return lanes // math.gcd(lanes, readers)


def validation_range(samples: int, rank: int, world_size: int) -> range:
    """The samples that `rank` evaluates, in order of the manifest: each on one rank, equal shares within one."""
    return range(samples * rank // world_size, samples * (rank + 1) // world_size)
