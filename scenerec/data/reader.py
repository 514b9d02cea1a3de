"""A rank's one reader: encoded images become arrays in threads, a few batches ahead of the step that wants them.

Threads of one process do, since decoder and resize let the others compute; and what is fetched is fetched for them all.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from threading import Event
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from typing_extensions import override

from scenerec.config.augment import AugmentConfig
from scenerec.config.data import InputConfig
from scenerec.data.colors import channel_means, color_matrices
from scenerec.data.packed_image import evaluation_pixels, undecodable
from scenerec.data.packed_set import PackedSet
from scenerec.data.picture import PictureError
from scenerec.data.stream import (
    Cursor,
    EncodedBatch,
    TrainingOrder,
    statistics_batches,
    training_batches,
    validation_batches,
)
from scenerec.data.torch_pixels import decoding_threads, pixels_of_views, training_pixels
from scenerec.data.view_pair import PairBatch, pair_color_matrices
from scenerec.world import World

_BATCHES_AHEAD = 3  # decoded, or on their way

Memory = TypeVar("Memory")
Batch = TypeVar("Batch", covariant=True)


class Framework(Protocol[Memory, Batch]):
    """How a framework makes its batches."""

    def allocator(self) -> Callable[[tuple[int, ...]], Memory]:
        """For one iteration: makes memory for uint8 of a shape, to which numpy can write (np.asarray)."""

    def batch(
        self,
        images: Memory,
        labels: np.ndarray,
        colors: np.ndarray | None,
        names: Sequence[str],
        coordinates: np.ndarray | None,
    ) -> Batch:
        """Of uint8 images [n, size, size, 3], int64 labels [n], float32 [n, 3, 4 or 5] of color_matrices, n names.

        And of coordinates float32 [n, 3] with NaN where not known, where the network takes them.
        """


class Reader(Generic[Memory, Batch], Iterable[Batch]):
    """The batches of a stream in their order, decoded; each iteration begins anew.

    An iteration has threads, which end with it: at its end, at an error, and when it is closed. It raises DataError for
    an image that does not decode, at its batch, and what the stream raises.

    Args:
        framework: makes the batches.
        encoded: begins the stream.
        decode: makes uint8 [image_size, image_size, 3] of an encoded image, its view and image_size, in the array that
            comes fourth.
        image_size: side of what the network sees, in pixels.
        threads: how many decode; at least one does.
        recolor: makes the color_matrices of views and of the channel means of what they show; without it colours stay.
        views: how many each image has, (2,) or () where that is one. The axis goes before that of the images.
        located: whether batches have coordinates.
    """

    def __init__(
        self,
        framework: Framework[Memory, Batch],
        encoded: Callable[[], Generator[EncodedBatch, None, None]],
        decode: Callable[..., object],
        image_size: int,
        threads: int,
        recolor: Callable[[Sequence[Any], np.ndarray], np.ndarray] | None = None,
        views: tuple[int, ...] = (),
        located: bool = False,
    ) -> None:
        self.framework, self.encoded, self.decode = framework, encoded, decode
        self.image_size, self.threads, self.recolor, self.views = image_size, max(threads, 1), recolor, views
        self.located = located

    @override
    def __iter__(self) -> Generator[Batch, None, None]:
        closed, allocate = Event(), self.framework.allocator()
        with (
            closing(self.encoded()) as stream,
            decoding_threads(self.threads) as decoders,
            ThreadPoolExecutor(1, "stream") as feeder,
            ThreadPoolExecutor(1, "batches") as finisher,  # TensorFlow copies to the GPU meanwhile
        ):

            def begin() -> _UnderWay[Memory] | None:
                batch = next(stream, None)
                return None if batch is None else self._begin(batch, allocate, decoders, closed)

            def finish(begun: Future[_UnderWay[Memory] | None]) -> Batch | None:
                under_way = begun.result()
                return None if under_way is None else self._finish(under_way)

            try:
                ahead = deque(finisher.submit(finish, feeder.submit(begin)) for _ in range(_BATCHES_AHEAD))
                while (batch := ahead.popleft().result()) is not None:
                    ahead.append(finisher.submit(finish, feeder.submit(begin)))
                    yield batch
            finally:  # the threads end with what they have at hand
                closed.set()
                feeder.shutdown(cancel_futures=True)
                decoders.shutdown(cancel_futures=True)
                finisher.shutdown(cancel_futures=True)

    def _begin(
        self,
        encoded: EncodedBatch,
        allocate: Callable[[tuple[int, ...]], Memory],
        decoders: ThreadPoolExecutor,
        closed: Event,
    ) -> "_UnderWay[Memory]":
        count = len(encoded.images)
        images = allocate((*self.views, count, self.image_size, self.image_size, 3))
        means = np.empty((*self.views, count, 3)) if self.recolor else None
        places = iter(range(count))  # whoever is free takes the next
        axis = len(self.views)  # that of the images, which threads have in front of that of their views
        of_places = np.moveaxis(np.asarray(images), axis, 0)
        means_of_places = None if means is None else np.moveaxis(means, axis, 0)
        work = partial(self._decode, encoded, places, of_places, means_of_places, closed)
        return _UnderWay(encoded, images, means, [decoders.submit(work) for _ in range(self.threads)])

    def _decode(
        self, encoded: EncodedBatch, places: Iterator[int], images: np.ndarray, means: np.ndarray | None, closed: Event
    ) -> None:
        for place in places:
            if closed.is_set():
                return
            try:
                self.decode(encoded.images[place], encoded.views[place], self.image_size, images[place])
            except PictureError as error:
                raise undecodable(encoded.names[place], error) from None
            if means is not None:
                means[place] = channel_means(images[place])

    def _finish(self, under_way: "_UnderWay[Memory]") -> Batch:
        encoded, images, means, tasks = under_way
        for task in tasks:
            task.result()
        colors = None if means is None or self.recolor is None else self.recolor(encoded.views, means)
        coordinates = encoded.coordinates if self.located else None
        return self.framework.batch(images, encoded.labels, colors, encoded.names, coordinates)


class _UnderWay(NamedTuple, Generic[Memory]):
    """A batch that is being decoded."""

    encoded: EncodedBatch
    images: Memory
    means: np.ndarray | None
    """Channel means of the images, float64 [n, 3] or [2, n, 3], where colours are changed."""
    tasks: list[Future[None]]


def training_reader(
    framework: Framework[Memory, Batch],
    data: PackedSet,
    config: InputConfig,
    order: TrainingOrder,
    world: World,
    start: Cursor,
    threads: int,
    coordinates: bool = False,
) -> Reader[Memory, Batch]:
    """Reads this rank's share of every global batch from `start` to the run's end; `coordinates`: with these."""
    augment = config.augment
    encoded = partial(training_batches, data, order, augment, start, world.rank, world.size)
    preprocessing = config.preprocessing
    recolor = partial(color_matrices, solarizes=augment.solarize > 0, preprocessing=preprocessing)
    decode = partial(training_pixels, preprocessing=preprocessing)
    colors = recolor if augment.changes_colors else None
    return Reader(framework, encoded, decode, config.training_size, threads, colors, located=coordinates)


def view_pair_reader(
    framework: Framework[Memory, Batch],
    data: PackedSet,
    config: InputConfig,
    second: AugmentConfig,
    order: TrainingOrder,
    world: World,
    start: Cursor,
    threads: int,
) -> Reader[Memory, PairBatch[Batch]]:
    """Reads this rank's share as `training_reader` does; each image is decoded once, and seen twice.

    The first view is that of config.augment, the second one by `second`.
    """
    both = (config.augment, second)
    encoded = partial(training_batches, data, order, config.augment, start, world.rank, world.size, second)
    solarizes = any(augment.solarize > 0 for augment in both)
    colored = any(augment.changes_colors for augment in both)
    preprocessing = config.preprocessing
    recolor = partial(pair_color_matrices, solarizes=solarizes, preprocessing=preprocessing) if colored else None
    decode = partial(pixels_of_views, preprocessing=preprocessing)
    return Reader(_Pairs(framework), encoded, decode, config.image_size, threads, recolor, (len(both),))


class _Pairs(Generic[Memory, Batch]):
    """Makes a framework's batches of two views, [2, n, ...]."""

    def __init__(self, framework: Framework[Memory, Batch]) -> None:
        self.framework = framework

    def allocator(self) -> Callable[[tuple[int, ...]], Memory]:
        return self.framework.allocator()

    def batch(
        self,
        images: Any,
        labels: np.ndarray,
        colors: np.ndarray | None,
        names: Sequence[str],
        coordinates: np.ndarray | None,
    ) -> PairBatch[Batch]:
        first, second = (
            self.framework.batch(images[view], labels, None if colors is None else colors[view], names, coordinates)
            for view in range(2)
        )
        return PairBatch(first, second, names)


def validation_reader(
    framework: Framework[Memory, Batch],
    data: PackedSet,
    config: InputConfig,
    world: World,
    batch_size: int,
    threads: int,
    coordinates: bool = False,
) -> Reader[Memory, Batch]:
    """Reads this rank's share of the validation set; `coordinates`: with these."""
    size, preprocessing = config.image_size, config.preprocessing
    ratio = preprocessing.eval_crop_ratio
    encoded = partial(validation_batches, data, size, ratio, batch_size, world.rank, world.size)
    decode = partial(evaluation_pixels, interpolation=preprocessing.interpolation)
    return Reader(framework, encoded, decode, size, threads, located=coordinates)


def statistics_reader(
    framework: Framework[Memory, Batch],
    data: PackedSet,
    config: InputConfig,
    seed: int,
    batch_size: int,
    batches: int,
    world: World,
    threads: int,
    coordinates: bool = False,
) -> Reader[Memory, Batch]:
    """Reads this rank's whole batches (each `world.size`-th) of `batches` that sample the training set by `seed`."""
    size, ratio = config.image_size, config.preprocessing.eval_crop_ratio
    encoded = partial(
        statistics_batches, data, seed, batch_size, batches, size, ratio, world.rank, world.size, config.balance
    )
    decode = partial(evaluation_pixels, interpolation=config.preprocessing.interpolation)
    return Reader(framework, encoded, decode, size, threads, located=coordinates)
