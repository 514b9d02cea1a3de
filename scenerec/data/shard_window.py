"""The shards that a reader holds in memory: those in use and the next few, each fetched once for its span."""

import heapq
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple

import numpy as np

from scenerec.data.epochs import SampleIndices
from scenerec.data.packed_set import PackedSet
from scenerec.data.shard import Sample

FETCH_THREADS = 8
"""Threads of one reader that fetch shards."""
_SPANS_AHEAD = 2


class Span(NamedTuple):
    """The ticks, from `first` to `last`, at which a reader takes samples of a shard. A tick is the time of a sample."""

    shard: int
    first: int
    last: int


def held_shards(lanes: int) -> int:
    """The most shards that a reader of `lanes` lanes holds at once: one in use of each, and those that come next."""
    return lanes + _SPANS_AHEAD


class ShardWindow:
    """Shards fetched whole and in threads, ahead of their first use, and dropped after their last.

    `spans` come in order of their first ticks, and at no tick are more than `lanes` of them in use: then a reader holds
    `held_shards(lanes)` shards at most, and what is next is on its way while there is room. The spans may go on over
    epochs. Leaving the context ends the threads.
    """

    def __init__(self, data: PackedSet, spans: Iterator[Span], lanes: int = 1) -> None:
        self.data = data
        self._threads = ThreadPoolExecutor(FETCH_THREADS, thread_name_prefix="fetch")
        self._waiting = spans
        self._coming = deque[Span]()
        self._in_use: list[tuple[int, int]] = []
        """A heap of (last tick, shard)."""
        self._room = held_shards(lanes)
        self._holders = Counter[int]()
        self.shards: dict[int, Future[list[Sample]]] = {}
        """Those that are held, by index in the manifest: in memory, or on their way."""

    def __enter__(self) -> "ShardWindow":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._threads.shutdown(cancel_futures=True)

    def take(
        self, ticks: np.ndarray, shards: np.ndarray, items: np.ndarray, indices: SampleIndices | None = None
    ) -> tuple[list[Sample], list[str]]:
        """The samples of `ticks`, which rise, and their names: items of shards, int64 [n] each.

        An item is the sample of that number, or the one that `indices` have for it. Raises DataError, StorageError.
        """
        samples, names = [], []
        for tick, shard, item in zip(ticks.tolist(), shards.tolist(), items.tolist(), strict=True):
            self._advance(tick)
            content = self.shards[shard].result()
            sample = content[indices(shard, content)[item] if indices else item]
            samples.append(sample)
            names.append(f"{self.data.shard_url(shard)}: {sample.key}")
        return samples, names

    def _advance(self, tick: int) -> None:
        """Drops what was used up before `tick`, and fetches what there is room for."""
        while self._in_use and self._in_use[0][0] < tick:
            self._drop(heapq.heappop(self._in_use)[1])
        self._fill()
        while self._coming and self._coming[0].first <= tick:
            span = self._coming.popleft()
            heapq.heappush(self._in_use, (span.last, span.shard))

    def _fill(self) -> None:
        while len(self._in_use) + len(self._coming) < self._room and (span := next(self._waiting, None)):
            self._coming.append(span)
            self._holders[span.shard] += 1
            if span.shard not in self.shards:
                self.shards[span.shard] = self._threads.submit(self.data.read, span.shard)

    def _drop(self, shard: int) -> None:
        self._holders[shard] -= 1
        if not self._holders[shard]:
            del self.shards[shard]
