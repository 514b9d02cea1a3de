"""The stream of encoded images that one reader takes from the shards, in the data order, from any step on.

A shard is fetched whole, ahead of its first use and in threads, and dropped after its last use.
"""

from collections import Counter
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np

from scenerec.config.train import AugmentConfig
from scenerec.data.augment import CenterCrop, View, center_crop, training_views
from scenerec.data.order import EpochOrder, batch_positions, steps_per_epoch, validation_range
from scenerec.data.packed_image import image_size
from scenerec.data.packed_set import PackedSet
from scenerec.data.shard import Sample

_FETCH_THREADS = 8
_SPANS_AHEAD = 2  # spans fetched before they are needed, beside those in use


@dataclass(frozen=True)
class Cursor:
    """A place in a run: step `step` of epoch `epoch`, both from 0."""

    epoch: int = 0
    step: int = 0


@dataclass(frozen=True)
class TrainingOrder:
    """What fixes the sequence of global batches of a whole run."""

    seed: int
    lanes: int
    global_batch_size: int
    epochs: int


def training_cursors(samples: int, order: TrainingOrder, start: Cursor = Cursor()) -> Iterator[Cursor]:
    """Yields every step of the run from `start` on, for a set of `samples`."""
    steps = steps_per_epoch(samples, order.global_batch_size)
    for epoch in range(start.epoch, order.epochs):
        for step in range(start.step if epoch == start.epoch else 0, steps):
            yield Cursor(epoch, step)


class EncodedBatch(NamedTuple):
    """One reader's share of a global batch, still encoded."""

    images: list[bytes]
    labels: np.ndarray
    """Class indices, int64 [n]."""
    views: list[View] | list[CenterCrop]
    names: list[str]
    """Shard and key of each image, for messages."""


def training_batches(
    data: PackedSet,
    order: TrainingOrder,
    augment: AugmentConfig,
    start: Cursor = Cursor(),
    reader: int = 0,
    readers: int = 1,
) -> Generator[EncodedBatch, None, None]:
    """Yields reader `reader`'s share of every global batch from `start` to the end of the last epoch."""
    shard_samples = tuple(shard.samples for shard in data.manifest.shards)
    cursors = training_cursors(data.manifest.samples, order, start)
    with ThreadPoolExecutor(_FETCH_THREADS, thread_name_prefix="fetch") as threads:
        for epoch, of_epoch in groupby(cursors, key=lambda cursor: cursor.epoch):
            epoch_order = EpochOrder(shard_samples, order.lanes, order.seed, epoch)
            batches = [batch_positions(at.step, order.global_batch_size, reader, readers) for at in of_epoch]
            window = ShardWindow(data, threads, _training_spans(epoch_order, batches))
            for index, positions in enumerate(batches):
                samples, names = window.take(index, *epoch_order.locate(positions))
                sizes = np.array([image_size(s.image, name) for s, name in zip(samples, names, strict=True)]).reshape(
                    -1, 2
                )
                views = training_views(augment, order.seed, epoch, positions, sizes[:, 0], sizes[:, 1])
                yield _encoded(samples, names, views)


def validation_batches(
    data: PackedSet, image_size_px: int, crop_ratio: float, batch_size: int, reader: int = 0, readers: int = 1
) -> Generator[EncodedBatch, None, None]:
    """Yields reader `reader`'s share of the set in batches of `batch_size`, the last smaller.

    No sample is in two shares.
    """
    mine = validation_range(data.manifest.samples, reader, readers)
    ends = np.cumsum(data.manifest.shard_samples)
    batches = []
    for first in range(mine.start, mine.stop, batch_size):
        positions = np.arange(first, min(first + batch_size, mine.stop))
        shards = np.searchsorted(ends, positions, side="right")
        batches.append((shards, positions - (ends - data.manifest.shard_samples)[shards]))
    yield from _center_cropped(data, batches, image_size_px, crop_ratio)


def statistics_batches(
    data: PackedSet,
    seed: int,
    batch_size: int,
    batches: int,
    image_size_px: int,
    crop_ratio: float,
    reader: int = 0,
    readers: int = 1,
) -> Generator[EncodedBatch, None, None]:
    """Yields every `readers`-th from batch `reader` on of a sample of the set by `seed`, prepared as for evaluation.

    The sample begins an epoch's order of one lane: it is the same for any number of workers and lanes, and takes few
    shards, each of which is a random part of the set.
    """
    order = EpochOrder(tuple(shard.samples for shard in data.manifest.shards), lanes=1, seed=seed, epoch=0)
    mine = [batch_positions(batch, batch_size) for batch in range(reader, batches, readers)]
    yield from _center_cropped(data, [order.locate(positions) for positions in mine], image_size_px, crop_ratio)


def _center_cropped(
    data: PackedSet, batches: list[tuple[np.ndarray, np.ndarray]], image_size_px: int, crop_ratio: float
) -> Generator[EncodedBatch, None, None]:
    """Batches of (shards, places in the shards), int64 [n] each, as evaluation sees them."""
    with ThreadPoolExecutor(_FETCH_THREADS, thread_name_prefix="fetch") as threads:
        window = ShardWindow(data, threads, _spans([[(0, int(shard)) for shard in shards] for shards, _ in batches]))
        for index, (shards, places) in enumerate(batches):
            samples, names = window.take(index, shards, places)
            sizes = [image_size(sample.image, name) for sample, name in zip(samples, names, strict=True)]
            yield _encoded(samples, names, [center_crop(*size, image_size_px, crop_ratio) for size in sizes])


def _encoded(samples: list[Sample], names: list[str], views: list[View] | list[CenterCrop]) -> EncodedBatch:
    labels = np.array([sample.label for sample in samples], dtype=np.int64)
    return EncodedBatch([sample.image for sample in samples], labels, views, names)


@dataclass(frozen=True)
class Span:
    """The batches, from index `first` to `last`, that use a shard."""

    shard: int
    first: int
    last: int


def _training_spans(order: EpochOrder, batches: list[np.ndarray]) -> list[Span]:
    """One span for each lane's passage through a shard: a shard at a cut is not held between its two lanes' turns."""
    return _spans([list(zip(positions % order.lanes, order.slots(positions)[0], strict=True)) for positions in batches])


def _spans(uses: list[list[tuple[int, int]]]) -> list[Span]:
    """Spans of the (lane, shard index) that each batch uses."""
    first: dict[tuple[int, int], int] = {}
    last: dict[tuple[int, int], int] = {}
    for index, of_batch in enumerate(uses):
        for use in of_batch:
            first.setdefault(use, index)
            last[use] = index
    return sorted((Span(use[1], first[use], last[use]) for use in first), key=lambda span: span.first)


class ShardWindow:
    """The shards that are in memory: those in use, and the next few."""

    def __init__(self, data: PackedSet, threads: ThreadPoolExecutor, spans: list[Span]) -> None:
        self.data = data
        self.threads = threads
        self.waiting = spans[::-1]  # the next one last
        self.held: list[Span] = []
        self.holders: Counter[int] = Counter()
        self.shards: dict[int, Future[list[Sample]]] = {}

    def take(self, batch: int, shards: np.ndarray, places: np.ndarray) -> tuple[list[Sample], list[str]]:
        """The samples of batch `batch` at (shard, place in the shard), int64 [n] each; batches come in order.

        Raises DataError, StorageError.
        """
        self._advance(batch)
        samples, names = [], []
        for shard, place in zip(shards.tolist(), places.tolist(), strict=True):
            sample = self.shards[shard].result()[place]
            samples.append(sample)
            names.append(f"{self.data.storage.url}/{self.data.manifest.shards[shard].key}: {sample.key}")
        return samples, names

    def _advance(self, batch: int) -> None:
        for span in [span for span in self.held if span.last < batch]:
            self.held.remove(span)
            self.holders[span.shard] -= 1
            if not self.holders[span.shard]:
                del self.shards[span.shard]
        ahead = sum(span.first > batch for span in self.held)
        while self.waiting and (self.waiting[-1].first <= batch or ahead < _SPANS_AHEAD):
            span = self.waiting.pop()
            ahead += span.first > batch
            self.held.append(span)
            self.holders[span.shard] += 1
            if span.shard not in self.shards:
                self.shards[span.shard] = self.threads.submit(self.data.read, span.shard)
