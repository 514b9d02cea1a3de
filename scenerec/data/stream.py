"""The stream of encoded images that one reader takes from the shards, in the data order, from any step on."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from scenerec.config.augment import AugmentConfig
from scenerec.data.augment import CenterCrop, View, center_crop, hidden_coordinates, training_views
from scenerec.data.coordinates import coordinates_array
from scenerec.data.epochs import Epochs, SampleIndices
from scenerec.data.order import batch_positions, reader_lanes, steps_per_epoch, validation_range
from scenerec.data.packed_image import image_size
from scenerec.data.packed_set import PackedSet
from scenerec.data.repeats import Repeats
from scenerec.data.shard import Sample
from scenerec.data.shard_window import ShardWindow, Span
from scenerec.data.view_pair import ViewPair, view_pairs


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
    balance: float = 0.0
    """How far the classes are evened out, as `data.balance`."""
    repeats: int = 1
    """How often each image of a batch is in it, as `data.repeats`."""

    @property
    def taking(self) -> Repeats:
        """Which items the positions of its batches have."""
        return Repeats(self.repeats, self.global_batch_size, self.lanes)


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
    """Class indices, int64 [n]; of a multi-label set 1 where a label is, float32 [n, classes]."""
    views: list[View] | list[ViewPair] | list[CenterCrop]
    names: list[str]
    """Shard and key of each image, for messages."""
    coordinates: np.ndarray
    """Latitude, longitude and time, float32 [n, 3]; NaN where not known, or hidden in training."""


def training_batches(
    data: PackedSet,
    order: TrainingOrder,
    augment: AugmentConfig,
    start: Cursor = Cursor(),
    reader: int = 0,
    readers: int = 1,
    second: AugmentConfig | None = None,
) -> Generator[EncodedBatch, None, None]:
    """Yields reader `reader`'s share of every global batch from `start` to the end of the last epoch.

    With `second`, each image has a second view, by these settings.
    """
    epochs, taking = Epochs(data, order.seed, order.lanes, order.balance), order.taking
    steps = steps_per_epoch(data.manifest.samples, order.global_batch_size)
    spans = _training_spans(epochs, order, data.manifest.samples, start, reader, readers)
    with ShardWindow(data, spans, reader_lanes(order.lanes, taking.parts(readers))) as window:
        for at in training_cursors(data.manifest.samples, order, start):
            positions = batch_positions(at.step, order.global_batch_size, reader, readers)
            items, places = np.unique(taking.items(at.epoch, at.step, steps, positions), return_inverse=True)
            turn = taking.round_of(at.epoch)
            different, their_names = window.take(
                turn * data.manifest.samples + items, *epochs.order(turn).locate(items), epochs.sample_indices(turn)
            )
            samples, names = ([each[place] for place in places] for each in (different, their_names))
            sizes = np.array([image_size(s.image, name) for s, name in zip(samples, names, strict=True)]).reshape(-1, 2)
            where = (order.seed, at.epoch, positions, sizes[:, 0], sizes[:, 1])
            views = view_pairs(augment, second, *where) if second else training_views(augment, *where)
            batch = _encoded(data, samples, names, views)
            batch.coordinates[hidden_coordinates(augment, order.seed, at.epoch, positions)] = np.nan
            yield batch


def _training_spans(
    epochs: Epochs, order: TrainingOrder, samples: int, start: Cursor, reader: int, readers: int
) -> Iterator[Span]:
    """The reader's passages through shards, round after round; an item's tick is its place in the whole run."""
    steps, taking = steps_per_epoch(samples, order.global_batch_size), order.taking
    parts = taking.parts(readers)
    for turn in range(taking.round_of(start.epoch), taking.round_of(order.epochs - 1) + 1):
        begin = taking.first_item(start.epoch, start.step, steps) if turn == taking.round_of(start.epoch) else 0
        last_epoch = min((turn + 1) * order.repeats, order.epochs) - 1
        end = taking.first_item(last_epoch, steps, steps)
        for shard, first, last in epochs.order(turn).passages(reader % parts, parts, begin, end).rows():
            yield Span(shard, turn * samples + first, turn * samples + last)


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
    balance: float = 0.0,
) -> Generator[EncodedBatch, None, None]:
    """Yields every `readers`-th from batch `reader` on of a sample of the set by `seed`, prepared as for evaluation.

    The sample begins an epoch's order of one lane: it is the same for any number of workers and lanes, and takes few
    shards, each of which is a random part of the set.
    """
    epochs = Epochs(data, seed, lanes=1, balance=balance)
    mine = [batch_positions(batch, batch_size) for batch in range(reader, batches, readers)]
    located = [epochs.order(0).locate(positions) for positions in mine]
    yield from _center_cropped(data, located, image_size_px, crop_ratio, epochs.sample_indices(0))


def _center_cropped(
    data: PackedSet,
    batches: list[tuple[np.ndarray, np.ndarray]],
    image_size_px: int,
    crop_ratio: float,
    indices: SampleIndices | None = None,
) -> Generator[EncodedBatch, None, None]:
    """Batches of (shards, items of the shards), int64 [n] each, as evaluation sees them."""
    with ShardWindow(data, _runs([shards for shards, _ in batches])) as window:
        tick = 0
        for shards, items in batches:
            samples, names = window.take(tick + np.arange(len(shards)), shards, items, indices)
            tick += len(shards)
            sizes = [image_size(sample.image, name) for sample, name in zip(samples, names, strict=True)]
            yield _encoded(data, samples, names, [center_crop(*size, image_size_px, crop_ratio) for size in sizes])


def _runs(batches: list[np.ndarray]) -> Iterator[Span]:
    """The spans of batches of shards, int64 [n] each, that are taken one after another; ticks count samples from 0."""
    if not batches:
        return
    shards = np.concatenate(batches)
    firsts = np.flatnonzero(np.diff(shards, prepend=-1))
    lasts = np.append(firsts[1:], len(shards)) - 1
    yield from map(Span, shards[firsts].tolist(), firsts.tolist(), lasts.tolist())


def _encoded(
    data: PackedSet, samples: list[Sample], names: list[str], views: list[View] | list[ViewPair] | list[CenterCrop]
) -> EncodedBatch:
    labels = data.manifest.labelling.array([sample.label for sample in samples])
    coordinates = coordinates_array([sample.coordinates for sample in samples])
    return EncodedBatch([sample.image for sample in samples], labels, views, names, coordinates)
