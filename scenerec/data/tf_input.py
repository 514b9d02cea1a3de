"""The TensorFlow input pipeline: encoded images to uint8 batches, and these to what the network sees.

Mirrors torch_input.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# First: torch goes before tensorflow.
from scenerec.data.reader import statistics_reader, training_reader, validation_reader, view_pair_reader

import numpy as np  # isort: skip
import tensorflow as tf

from scenerec.config.augment import AugmentConfig
from scenerec.config.data import InputConfig
from scenerec.config.mix import MixConfig
from scenerec.data.colors import WITH_SOLARIZE
from scenerec.data.mixing import Mixes, Pairing
from scenerec.data.packed_set import PackedSet
from scenerec.data.recycled_memory import RecycledMemory
from scenerec.data.stream import Cursor, TrainingOrder
from scenerec.data.view_pair import PairBatch
from scenerec.models.preprocessing import IMAGENET, Channels, WeightPreprocessing
from scenerec.world import World


class Partners(NamedTuple):
    """What the images of a batch are mixed with, each with one of its own (`scenerec.data.mixing`)."""

    images: tf.Tensor
    """As of the batch."""
    labels: tf.Tensor
    """As of the batch."""
    colors: tf.Tensor | None
    """As of the batch."""
    mixes: Mixes[tf.Tensor]
    """How."""


class Batch(NamedTuple):
    """One rank's share of a batch; on the GPU, where the rank has one, but for what it is mixed by."""

    images: tf.Tensor
    """uint8 [n, image_size, image_size, 3] (NHWC), RGB."""
    labels: tf.Tensor
    """Class indices, int64 [n]; of a multi-label set 1 where a label is, float32 [n, classes]."""
    colors: tf.Tensor | None
    """What `normalize` does to the colours, float32 [n, 3, 4 or 5]; None where they stay as they are."""
    names: Sequence[str] = ()
    """Shard and key of each image; not of what is only a piece of a share."""
    coordinates: tf.Tensor | None = None
    """Latitude, longitude and time, float32 [n, 3], NaN where not known; None where the network takes none."""
    partners: Partners | None = None
    """What the images are mixed with; None where they stay as they are."""
    drop_keys: tf.Tensor | None = None
    """What dropout draws from for each image, int64 [n] in [0, 2^32); None outside of training."""


def training_input(
    data: PackedSet,
    config: InputConfig,
    order: TrainingOrder,
    world: World,
    start: Cursor,
    threads: int,
    coordinates: bool = False,
    mix: MixConfig | None = None,
) -> Generator[Batch, None, None]:
    """Yields this rank's share of every global batch from `start` to the run's end, decoded in `threads` threads.

    With `mix`, each batch has the partners of its images.
    """

    def begin(first: Cursor) -> Generator[Batch, None, None]:
        return iter(training_reader(_Tensorflow(world), data, config, order, world, first, threads, coordinates))

    pairing = Pairing(mix, order, data.manifest.samples)
    for at, batch, others in pairing.pairs(begin, start):
        positions = pairing.positions(at, world.rank, world.size)
        keys, mixes = pairing.drop_keys(at, positions), pairing.mixes(at, positions, batch.images.shape[-2])
        partners = None
        if mixes is not None:
            tensors = Mixes(*map(tf.constant, mixes))
            partners = Partners(others.images, others.labels, others.colors, tensors)
        yield batch._replace(partners=partners, drop_keys=tf.constant(keys))


def view_pair_input(
    data: PackedSet,
    config: InputConfig,
    second: AugmentConfig,
    order: TrainingOrder,
    world: World,
    start: Cursor,
    threads: int,
) -> Generator[PairBatch[Batch], None, None]:
    """Yields this rank's share of every global batch as `training_input` does, each image seen twice.

    The first view is drawn by config.augment, as in `training_input`, the second by `second`. An image is decoded once.
    """
    return iter(view_pair_reader(_Tensorflow(world), data, config, second, order, world, start, threads))


def validation_input(
    data: PackedSet, config: InputConfig, world: World, batch_size: int, threads: int, coordinates: bool = False
) -> Iterable[Batch]:
    """This rank's share of the validation set, iterated once an epoch, decoded in `threads` threads."""
    return validation_reader(_Tensorflow(world), data, config, world, batch_size, threads, coordinates)


def statistics_input(
    data: PackedSet,
    config: InputConfig,
    seed: int,
    batch_size: int,
    batches: int,
    world: World,
    threads: int,
    coordinates: bool = False,
) -> Iterable[Batch]:
    """This rank's whole batches (each `world.size`-th) of `batches` that sample the training set by `seed`."""
    return statistics_reader(_Tensorflow(world), data, config, seed, batch_size, batches, world, threads, coordinates)


def normalize(
    images: tf.Tensor,
    dtype: tf.DType = tf.float32,
    colors: tf.Tensor | None = None,
    preprocessing: WeightPreprocessing = IMAGENET,
) -> tf.Tensor:
    """Normalises uint8 [n, h, w, 3] by a mean and deviation to `dtype`, on the device of `images`.

    Where `colors` are given, float32 [n, 3, 4 or 5] (color_matrices of the same `preprocessing`), they are changed with
    it, clipped to black and white, and solarised. The arithmetic runs along whole rows, which saves most of its time.
    """
    _, height, width, _ = images.shape
    rows = tf.cast(tf.reshape(images, [-1, height, width * 3]), dtype)

    def row(channels: Channels) -> tf.Tensor:
        return tf.constant(np.tile(channels, width), dtype)

    if colors is None:
        rows = (rows - row(preprocessing.mean_levels)) / row(preprocessing.std_levels)
    else:
        colors = tf.cast(colors, dtype)
        bounds = row(preprocessing.darkest), row(preprocessing.brightest)
        rows = tf.clip_by_value(_recolor(rows, colors[:, :, :4]), *bounds)
        if colors.shape[2] == WITH_SOLARIZE:
            rows = tf.minimum(rows, tf.tile(colors[:, :, 4], [1, width])[:, None] - rows)
    return tf.reshape(rows, [-1, height, width, 3])


def _recolor(rows: tf.Tensor, colors: tf.Tensor) -> tf.Tensor:
    """[n, h, 3 w] through [n, 3, 4], four pixels at a time where that comes out: a wider product is a faster one."""
    pixels = 4 if rows.shape[1] * rows.shape[2] % 12 == 0 else 1
    diagonal = tf.eye(pixels, dtype=colors.dtype)
    matrix = tf.reshape(tf.einsum("ij,ndc->nicjd", diagonal, colors[:, :, :3]), [-1, 3 * pixels, 3 * pixels])
    added = tf.tile(colors[:, :, 3], [1, pixels])[:, None]
    product = tf.matmul(tf.reshape(rows, [-1, rows.shape[1] * rows.shape[2] // (3 * pixels), 3 * pixels]), matrix)
    return tf.reshape(product + added, [-1, *rows.shape[1:]])


@dataclass(frozen=True)
class _Tensorflow:
    """Makes TensorFlow's batches, on the rank's device."""

    world: World

    def allocator(self) -> Callable[[tuple[int, ...]], np.ndarray]:
        return RecycledMemory().array

    def batch(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        colors: np.ndarray | None,
        names: Sequence[str],
        coordinates: np.ndarray | None,
    ) -> Batch:
        with tf.device(self._device):
            matrices, located = (None if array is None else tf.constant(array) for array in (colors, coordinates))
            return Batch(tf.constant(images), tf.constant(labels), matrices, names, located)

    @property
    def _device(self) -> str:
        """What TensorFlow calls it; a worker sees one GPU alone."""
        return "CPU:0" if self.world.device == "cpu" else "GPU:0"
