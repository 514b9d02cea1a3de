"""The TensorFlow input pipeline: encoded images to uint8 batches. Mirrors torch_input."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple, get_type_hints

import numpy as np
import tensorflow as tf

from scenerec.config.train import DataConfig
from scenerec.data import packed_image
from scenerec.data.augment import CenterCrop, View
from scenerec.data.packed_image import undecodable
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
from scenerec.errors import DataError, ScenerecError
from scenerec.models.zoo import IMAGENET_MEAN, IMAGENET_STD
from scenerec.world import World

_BATCHES_AHEAD = 4  # decoded, or on their way
_GRAY = (0.2989, 0.587, 0.114)  # torchvision's weights of R, G, B
_VIEW_DTYPES = {int: tf.int32, bool: tf.bool, float: tf.float32}


class Batch(NamedTuple):
    """One rank's share of a batch, on the CPU."""

    images: tf.Tensor
    """uint8 [n, image_size, image_size, 3] (NHWC), RGB."""
    labels: tf.Tensor
    """Class indices, int64 [n]."""
    names: list[str]
    """Shard and key of each image."""


def training_input(
    data: PackedSet, config: DataConfig, order: TrainingOrder, world: World, start: Cursor, threads: int
) -> Iterator[Batch]:
    """Yields this rank's share of every global batch from `start` to the run's end, decoded in `threads` threads."""

    def encoded() -> Iterator[EncodedBatch]:
        return training_batches(data, order, config.augment, start, world.rank, world.size)

    return iter(_Images(encoded, View, decode_training, config.image_size, threads))


def validation_input(
    data: PackedSet, config: DataConfig, world: World, batch_size: int, threads: int
) -> Iterable[Batch]:
    """This rank's share of the validation set, iterated once an epoch, decoded in `threads` threads."""
    size, ratio = config.image_size, config.eval_crop_ratio

    def encoded() -> Iterator[EncodedBatch]:
        return validation_batches(data, size, ratio, batch_size, world.rank, world.size)

    return _Images(encoded, CenterCrop, decode_evaluation, size, threads)


def statistics_input(
    data: PackedSet, config: DataConfig, seed: int, batch_size: int, batches: int, world: World, threads: int
) -> Iterable[Batch]:
    """This rank's whole batches (each `world.size`-th) of `batches` that sample the training set by `seed`."""
    size, ratio = config.image_size, config.eval_crop_ratio

    def encoded() -> Iterator[EncodedBatch]:
        return statistics_batches(data, seed, batch_size, batches, size, ratio, world.rank, world.size)

    return _Images(encoded, CenterCrop, decode_evaluation, size, threads)


def decode_training(encoded: tf.Tensor, view: View, image_size: int) -> tf.Tensor:
    """Decodes an image and applies its view; uint8 [image_size, image_size, 3] (HWC).

    In order: crop, resize (bilinear, antialiased), flip, colour. The fields of `view` are scalar tensors.
    """
    (pixels,) = _on_the_host(lambda content: [packed_image.decode(content)], encoded)
    image = tf.image.crop_to_bounding_box(pixels, view.top, view.left, view.height, view.width)
    image = _resize(image, image_size, image_size)
    image = tf.cond(view.flip, lambda: tf.image.flip_left_right(image), lambda: image)
    colors = tf.stack([view.brightness, view.contrast, view.saturation])
    return tf.cond(tf.reduce_all(colors == 1), lambda: image, lambda: _jitter(image, view))


def decode_evaluation(encoded: tf.Tensor, crop: CenterCrop, image_size: int) -> tf.Tensor:
    """Decodes, resizes (bilinear, antialiased) and centre-crops an image; uint8 [image_size, image_size, 3] (HWC).

    The fields of `crop` are scalar tensors, or numbers.
    """

    def decode(content: bytes, *fields: int) -> list[Any]:
        pixels, remaining = packed_image.decode_for(CenterCrop(*fields), content, image_size)
        return [pixels, *map(np.int32, remaining)]

    pixels, *fields = _on_the_host(decode, encoded, *crop)
    crop = CenterCrop(*fields)
    image = _resize(pixels, crop.height, crop.width)
    return tf.image.crop_to_bounding_box(image, crop.top, crop.left, image_size, image_size)


def normalize(images: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Normalises uint8 [n, h, w, 3] by ImageNet's mean and deviation to `dtype`, on the device of `images`."""
    mean = tf.constant(IMAGENET_MEAN, dtype) * 255
    std = tf.constant(IMAGENET_STD, dtype) * 255
    return (tf.cast(images, dtype) - mean) / std


def _on_the_host(decode: Callable[..., list[Any]], encoded: tf.Tensor, *numbers: tf.Tensor) -> list[tf.Tensor]:
    """What `decode` makes of bytes and whole numbers: pixels, uint8 [height, width, 3], and as many numbers again."""

    def call(content: Any, *arguments: Any) -> list[Any]:  # bytes, or eagerly an array of them
        return decode(np.asarray(content, object).item(), *map(int, arguments))

    inputs = [tf.convert_to_tensor(encoded), *(tf.cast(number, tf.int32) for number in numbers)]
    pixels, *found = tf.numpy_function(call, inputs, [tf.uint8, *(tf.int32 for _ in numbers)], stateful=False)
    return [tf.ensure_shape(pixels, [None, None, 3]), *(tf.ensure_shape(number, []) for number in found)]


def _resize(image: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
    resized = tf.image.resize(image, [height, width], method="bilinear", antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)


def _jitter(image: tf.Tensor, view: View) -> tf.Tensor:
    """Brightness, contrast, saturation as torchvision defines them (tf.image's contrast and saturation are others)."""
    image = tf.cast(image, tf.float32) / 255
    image = tf.clip_by_value(image * view.brightness, 0, 1)
    image = _blend(image, tf.reduce_mean(_grayscale(image)), view.contrast)
    image = _blend(image, _grayscale(image), view.saturation)
    return tf.cast(tf.round(image * 255), tf.uint8)


def _blend(image: tf.Tensor, other: tf.Tensor, ratio: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(ratio * image + (1 - ratio) * other, 0, 1)


def _grayscale(image: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(image * tf.constant(_GRAY), axis=-1, keepdims=True)


class _Images:
    """Batches of encoded images through `decode`, in order. Raises DataError for an image that does not decode."""

    def __init__(
        self,
        encoded: Callable[[], Iterator[EncodedBatch]],
        view: type[View] | type[CenterCrop],
        decode: Callable[..., tf.Tensor],
        image_size: int,
        threads: int,
    ) -> None:
        self.encoded, self.view, self.decode, self.image_size = encoded, view, decode, image_size
        self.view_dtypes = [_VIEW_DTYPES[kind] for kind in get_type_hints(view).values()]
        self.recent: deque[EncodedBatch] = deque(maxlen=2 * _BATCHES_AHEAD + 2)
        self.failures: list[ScenerecError] = []
        self.dataset = self._dataset(max(threads, 1))

    def __iter__(self) -> Iterator[Batch]:
        try:
            for images, labels, names in self.dataset:
                yield Batch(images, labels, [name.decode() for name in names.numpy().tolist()])
        except (tf.errors.InvalidArgumentError, tf.errors.UnknownError) as error:
            raise (self.failures or [self._undecodable(error)])[0] from None

    def _dataset(self, threads: int) -> tf.data.Dataset:
        signature = (
            tf.TensorSpec([None], tf.string),
            self.view._make(tf.TensorSpec([None], dtype) for dtype in self.view_dtypes),
            tf.TensorSpec([None], tf.int64),
            tf.TensorSpec([None], tf.string),
        )
        dataset = tf.data.Dataset.from_generator(self._arrays, output_signature=signature)
        dataset = dataset.map(partial(self._decode_batch, threads), num_parallel_calls=threads, deterministic=True)
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads + 1
        options.autotune.enabled = False  # nothing is left to tune, and an iterator's end waits for the tuner's thread
        return dataset.prefetch(_BATCHES_AHEAD).with_options(options)

    def _arrays(self) -> Iterator[tuple[Any, ...]]:
        try:
            for batch in self.encoded():
                self.recent.append(batch)
                columns = (
                    np.array([view[field] for view in batch.views], dtype.as_numpy_dtype)
                    for field, dtype in enumerate(self.view_dtypes)
                )
                yield batch.images, self.view._make(columns), batch.labels, batch.names
        except ScenerecError as error:  # tf.data would make one of its own errors of it
            self.failures.append(error)
            raise

    def _decode_batch(
        self, threads: int, images: tf.Tensor, views: View | CenterCrop, labels: tf.Tensor, names: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        pixels = tf.map_fn(
            lambda one: self.decode(*one, self.image_size),
            (images, views),
            fn_output_signature=tf.TensorSpec([self.image_size, self.image_size, 3], tf.uint8),
            parallel_iterations=threads,
        )
        return pixels, labels, names

    def _undecodable(self, error: tf.errors.OpError) -> ScenerecError:
        """tf.data does not say which image it was: tries those that were under way."""
        for batch in self.recent:
            for image, name in zip(batch.images, batch.names, strict=True):
                try:
                    packed_image.decode(image)
                except PictureError as of_image:
                    return undecodable(name, of_image)
        return DataError(f"an image could not be prepared: {error.message}")
