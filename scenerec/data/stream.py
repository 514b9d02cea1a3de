"""The stream of encoded images that one reader takes from the shards, in the data order, from any step on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from scenerec.config.train import AugmentConfig
from scenerec.data.augment import CenterCrop, View, center_crop, training_views
from scenerec.data.order import EpochOrder, batch_positions, reader_lanes, steps_per_epoch, validation_range
from scenerec.data.packed_image import image_size
from scenerec.data.packed_set import PackedSet
from scenerec.data.shard import Sample
from scenerec.data.shard_window import ShardWindow, Span


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
) -> Iterator[EncodedBatch]:
    """Yields reader `reader`'s share of every global batch from `start` to the end of the last epoch."""
    shard_samples = tuple(data.manifest.shard_samples.tolist())
    spans = _training_spans(shard_samples, order, start, reader, readers)
    with ShardWindow(data, spans, reader_lanes(order.lanes, readers)) as window:
        for at in training_cursors(data.manifest.samples, order, start):
            positions = batch_positions(at.step, order.global_batch_size, reader, readers)
            ticks = at.epoch * data.manifest.samples + positions
            shards, places = EpochOrder(shard_samples, order.lanes, order.seed, at.epoch).locate(positions)
            samples, names = window.take(ticks, shards, places)
            sizes = np.array([image_size(s.image, name) for s, name in zip(samples, names, strict=True)]).reshape(-1, 2)
            views = training_views(augment, order.seed, at.epoch, positions, sizes[:, 0], sizes[:, 1])
            yield _encoded(samples, names, views)


def _training_spans(
    shard_samples: tuple[int, ...], order: TrainingOrder, start: Cursor, reader: int, readers: int
) -> Iterator[Span]:
    """The reader's passages through shards, epoch after epoch; a sample's tick is its position in the whole run."""
    samples = sum(shard_samples)
    end = steps_per_epoch(samples, order.global_batch_size) * order.global_batch_size
    for epoch in range(start.epoch, order.epochs):
        begin = start.step * order.global_batch_size if epoch == start.epoch else 0
        epoch_order = EpochOrder(shard_samples, order.lanes, order.seed, epoch)
        for shard, first, last in epoch_order.passages(reader, readers, begin, end).rows():
            yield Span(shard, epoch * samples + first, epoch * samples + last)


def validation_batches(
    data: PackedSet, image_size_px: int, crop_ratio: float, batch_size: int, reader: int = 0, readers: int = 1
) -> Iterator[EncodedBatch]:
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
) -> Iterator[EncodedBatch]:
    """Yields every `readers`-th from batch `reader` on of a sample of the set by `seed`, prepared as for evaluation.

    The sample begins an epoch's order of one lane: it is the same for any number of workers and lanes, and takes few
    shards, each of which is a random part of the set.
    """
    order = EpochOrder(tuple(shard.samples for shard in data.manifest.shards), lanes=1, seed=seed, epoch=0)
    mine = [batch_positions(batch, batch_size) for batch in range(reader, batches, readers)]
    yield from _center_cropped(data, [order.locate(positions) for positions in mine], image_size_px, crop_ratio)


def _center_cropped(
    data: PackedSet, batches: list[tuple[np.ndarray, np.ndarray]], image_size_px: int, crop_ratio: float
) -> Iterator[EncodedBatch]:
    """Batches of (shards, places in the shards), int64 [n] each, as evaluation sees them."""
    with ShardWindow(data, _runs([shards for shards, _ in batches])) as window:
        tick = 0
        for shards, places in batches:
            samples, names = window.take(tick + np.arange(len(shards)), shards, places)
            tick += len(shards)
            sizes = [image_size(sample.image, name) for sample, name in zip(samples, names, strict=True)]
            yield _encoded(samples, names, [center_crop(*size, image_size_px, crop_ratio) for size in sizes])


def _runs(batches: list[np.ndarray]) -> Iterator[Span]:
    """The spans of batches of shards, int64 [n] each, that are taken one after another; ticks count samples from 0."""
    if not batches:
        return
    shards = np.concatenate(batches)
    firsts = np.flatnonzero(np.diff(shards, prepend=-1))
    lasts = np.append(firsts[1:], len(shards)) - 1
    yield from map(Span, shards[firsts].tolist(), firsts.tolist(), lasts.tolist())


def _encoded(samples: list[Sample], names: list[str], views: list[View] | list[CenterCrop]) -> EncodedBatch:
    labels = np.array([sample.label for sample in samples], dtype=np.int64)
    return EncodedBatch([sample.image for sample in samples], labels, views, names)
