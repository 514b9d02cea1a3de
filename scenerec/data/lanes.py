"""How many lanes a run gets, and what its readers then fetch and hold. Pure arithmetic on the manifest's numbers.

Readers fetch whole shards, so that each is checked by its checksum, and all take the same share of an epoch to within a
sample. So W readers that share nothing fetch at least S + W - 1 times a shard where none of their ends meet, S being
the number of shards: 1.09 times the set for 64 readers of 700 shards, 1.73 times for 512. Readers of one node that
share a cache fetch as one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scenerec.data.manifest import Manifest
from scenerec.data.order import Pieces, lane_pieces, reader_lanes
from scenerec.data.repeats import Repeats
from scenerec.data.shard_window import held_shards

_LEAST_LANES = 12  # shards that are mixed in a batch; and 1, 2, 3, 4, 6 and 12 workers divide it
_LITTLE = 1.1  # fetched bytes over the set's that are no reason to have fewer lanes
_ALIKE = 1.02
_MOST_LANES_PER_WORKER = 16
_MOST_WIDENED = 4096  # lanes


def fetched_share(
    shard_samples: Sequence[int], shard_bytes: Sequence[int], lanes: int, readers: int, nodes: int | None = None
) -> float:
    """Bytes that all readers fetch in an epoch, over the bytes of the set.

    With `nodes` the readers are spread evenly over so many nodes, in order of their ranks, and those of a node share a
    cache that holds what they read in an epoch. None: each reads for itself. The shards are taken in their order in the
    manifest; a shuffle changes the figure by little.
    """
    sizes = np.asarray(shard_bytes, dtype=np.int64)
    pieces = lane_pieces(np.asarray(shard_samples, dtype=np.int64), lanes)
    # Reader r takes the lanes of group r mod `groups`, and so do `readers` / `groups` others.
    groups = math.gcd(lanes, readers)
    group = pieces.lane % groups
    if nodes is None:
        fetched = sizes[pieces.shard[_fetches(group * len(sizes) + pieces.shard, pieces)]].sum() * (readers // groups)
    else:
        rank = np.arange(readers)
        node, of_node = np.divmod(np.unique(rank * nodes // readers * groups + rank % groups), groups)
        order = np.argsort(group, kind="stable")
        starts = np.searchsorted(group[order], of_node)
        counts = np.searchsorted(group[order], of_node, side="right") - starts
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        shard = pieces.shard[order[np.repeat(starts, counts) + within]]
        fetched = sizes[np.unique(np.repeat(node, counts) * len(sizes) + shard) % len(sizes)].sum()
    return float(fetched / sizes.sum())


def _fetches(holder: np.ndarray, pieces: Pieces) -> np.ndarray:
    """The indices of the pieces for which a shard is fetched, rather than still held for another lane of its holder."""
    order = np.lexsort((pieces.first, holder))
    begins = np.diff(holder[order], prepend=-1) > 0
    offsets = np.cumsum(begins) * (int(pieces.last.max()) + 2)  # keeps the holders apart
    held_until = np.maximum.accumulate(offsets + pieces.last[order])
    gap = offsets[1:] + pieces.first[order][1:] > held_until[:-1] + 1
    return order[np.append(True, begins[1:] | gap)]


@dataclass(frozen=True)
class Reading:
    """What so many workers read."""

    workers: int
    fetched_share: float
    """Bytes that all of them fetch in an epoch, over the bytes of the set."""
    held_bytes: int
    """The most bytes of shards that one of them holds in memory."""


def plan_reading(
    manifest: Manifest, taking: Repeats, workers: Sequence[int], workers_per_node: int = 1, cache_bytes: int = 0
) -> tuple[Reading, ...]:
    """What each number of workers reads.

    A cache of `cache_bytes` on each node counts where it holds what the node's `workers_per_node` fetch in an epoch.
    """
    samples, sizes, lanes = manifest.shard_samples.tolist(), manifest.shard_bytes.tolist(), taking.lanes

    def reading(number: int) -> Reading:
        parts, nodes = taking.parts(number), math.ceil(number / workers_per_node)
        share = fetched_share(samples, sizes, lanes, parts) * (number // parts)
        together = fetched_share(samples, sizes, lanes, parts, nodes) if parts == number else nodes
        if together / taking.repeats * manifest.size_bytes / nodes <= cache_bytes:
            share = together
        held = sum(sorted(sizes)[-held_shards(reader_lanes(lanes, parts)) :])
        return Reading(number, share / taking.repeats, held)

    return tuple(map(reading, workers))


def choose_lanes(allowed_workers: Sequence[int], shard_samples: Sequence[int], shard_bytes: Sequence[int]) -> int:
    """Number of lanes for a run: a multiple of the largest number of workers.

    It is one of 12 too, and of the other allowed numbers, largest first, as far as the workers then fetch no more, as a
    mean over the allowed numbers, or no more than 1.1 times the set; but for that never more than 16 for each worker,
    nor than 4096. Any number is correct; one that the workers divide lets each read only its own lanes.
    """
    largest, samples = max(allowed_workers), sum(shard_samples)

    def cost(lanes: int) -> float:
        shares = [fetched_share(shard_samples, shard_bytes, min(lanes, samples), n) for n in allowed_workers]
        return sum(shares) / len(shares)

    ceiling = min(_MOST_WIDENED, _MOST_LANES_PER_WORKER * max(_LEAST_LANES, largest))

    def is_better(wider: int, lanes: int) -> bool:
        return lanes < wider <= ceiling and cost(wider) <= max(_LITTLE, _ALIKE * cost(lanes))

    lanes = largest * math.ceil(_LEAST_LANES / largest)
    if is_better(math.lcm(_LEAST_LANES, largest), lanes):
        lanes = math.lcm(_LEAST_LANES, largest)
    for workers in sorted(allowed_workers, reverse=True):
        if is_better(math.lcm(lanes, workers), lanes):
            lanes = math.lcm(lanes, workers)
    return min(lanes, samples)
