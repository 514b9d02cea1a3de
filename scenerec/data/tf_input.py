"""The TensorFlow input pipeline: encoded images to uint8 batches. Mirrors torch_input."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from scenerec.config.train import DataConfig
from scenerec.data.packed_set import PackedSet, undecodable
from scenerec.data.stream import Cursor, EncodedBatch, TrainingOrder, training_batches, validation_batches
from scenerec.errors import DataError, ScenerecError
from scenerec.models.zoo import IMAGENET_MEAN, IMAGENET_STD
from scenerec.world import World

_BATCHES_AHEAD = 4  # decoded, or on their way
_GRAY = (0.2989, 0.587, 0.114)  # torchvision's weights of R, G, B


class Batch(NamedTuple):
    """One rank's share of a batch, on the CPU."""

    images: tf.Tensor
    """uint8 [n, image_size, image_size, 3] (NHWC), RGB."""
    labels: tf.Tensor
    """int64 [n]"""


def training_input(
    data: PackedSet, config: DataConfig, order: TrainingOrder, world: World, start: Cursor, threads: int
) -> Iterator[Batch]:
    """This rank's share of every global batch from `start` to the end of the run, decoded in `threads` threads."""

    def encoded() -> Iterator[EncodedBatch]:
        return training_batches(data, order, config.augment, start, world.rank, world.size)

    return iter(_Images(encoded, decode_training, config.image_size, (5, 3), threads))


def validation_input(
    data: PackedSet, config: DataConfig, world: World, batch_size: int, threads: int
) -> Iterable[Batch]:
    """This rank's share of the validation set; iterate it once an epoch."""
    size, ratio = config.image_size, config.eval_crop_ratio

    def encoded() -> Iterator[EncodedBatch]:
        return validation_batches(data, size, ratio, batch_size, world.rank, world.size)

    return _Images(encoded, decode_evaluation, size, (4, 0), threads)


def decode_training(encoded: tf.Tensor, box: tf.Tensor, colors: tf.Tensor, image_size: int) -> tf.Tensor:
    """Decode, random resized crop (bilinear, antialiased), flip and colour jitter; uint8 [image_size, image_size, 3].

    `box` is int32 (top, left, height, width, flip), `colors` float32 (brightness, contrast, saturation).
    """
    top, left, height, width, flip = tf.unstack(box)
    image = tf.image.crop_to_bounding_box(_decode(encoded), top, left, height, width)
    image = _resize(image, [image_size, image_size])
    image = tf.cond(flip > 0, lambda: tf.image.flip_left_right(image), lambda: image)
    return tf.cond(tf.reduce_all(colors == 1), lambda: image, lambda: _jitter(image, colors))


def decode_evaluation(encoded: tf.Tensor, crop: tf.Tensor, _: tf.Tensor, image_size: int) -> tf.Tensor:
    """Decode, resize (bilinear, antialiased) and centre crop; uint8 [image_size, image_size, 3].

    `crop` is int32 (height, width, top, left).
    """
    image = _resize(_decode(encoded), crop[:2])
    return tf.image.crop_to_bounding_box(image, crop[2], crop[3], image_size, image_size)


def normalize(images: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """uint8 [n, h, w, 3] to `dtype` with ImageNet's mean and deviation, on the device of `images`."""
    mean = tf.constant(IMAGENET_MEAN, dtype) * 255
    std = tf.constant(IMAGENET_STD, dtype) * 255
    return (tf.cast(images, dtype) - mean) / std


def _decode(encoded: tf.Tensor) -> tf.Tensor:
    # decode_jpeg reads PNG too; the accurate DCT is what torchvision's decoder uses.
    return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")


def _resize(image: tf.Tensor, size: Any) -> tf.Tensor:
    resized = tf.image.resize(image, size, method="bilinear", antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)


def _jitter(image: tf.Tensor, colors: tf.Tensor) -> tf.Tensor:
    """Brightness, contrast, saturation as torchvision defines them (tf.image's contrast and saturation are others)."""
    brightness, contrast, saturation = tf.unstack(colors)
    image = tf.cast(image, tf.float32) / 255
    image = tf.clip_by_value(image * brightness, 0, 1)
    image = _blend(image, tf.reduce_mean(_grayscale(image)), contrast)
    image = _blend(image, _grayscale(image), saturation)
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
        decode: Callable[..., tf.Tensor],
        image_size: int,
        view_widths: tuple[int, int],
        threads: int,
    ) -> None:
        self.encoded, self.decode, self.image_size = encoded, decode, image_size
        self.boxes, self.colors = view_widths
        self.recent: deque[EncodedBatch] = deque(maxlen=2 * _BATCHES_AHEAD + 2)
        self.failures: list[ScenerecError] = []
        self.dataset = self._dataset(max(threads, 1))

    def __iter__(self) -> Iterator[Batch]:
        try:
            for images, labels in self.dataset:
                yield Batch(images, labels)
        except (tf.errors.InvalidArgumentError, tf.errors.UnknownError) as error:
            raise (self.failures or [self._undecodable(error)])[0] from None

    def _dataset(self, threads: int) -> tf.data.Dataset:
        signature = (
            tf.TensorSpec([None], tf.string),
            tf.TensorSpec([None, self.boxes], tf.int32),
            tf.TensorSpec([None, self.colors], tf.float32),
            tf.TensorSpec([None], tf.int64),
        )
        dataset = tf.data.Dataset.from_generator(self._arrays, output_signature=signature)
        dataset = dataset.map(partial(self._decode_batch, threads), num_parallel_calls=threads, deterministic=True)
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads + 1
        return dataset.prefetch(_BATCHES_AHEAD).with_options(options)

    def _arrays(self) -> Iterator[tuple[Any, ...]]:
        try:
            for batch in self.encoded():
                self.recent.append(batch)
                views = np.array(batch.views, dtype=np.float64).reshape(-1, self.boxes + self.colors)
                boxes, colors = np.split(views, [self.boxes], axis=1)
                yield batch.images, boxes.astype(np.int32), colors.astype(np.float32), batch.labels
        except ScenerecError as error:  # tf.data would make one of its own errors of it
            self.failures.append(error)
            raise

    def _decode_batch(
        self, threads: int, images: tf.Tensor, boxes: tf.Tensor, colors: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = tf.map_fn(
            lambda one: self.decode(*one, self.image_size),
            (images, boxes, colors),
            fn_output_signature=tf.TensorSpec([self.image_size, self.image_size, 3], tf.uint8),
            parallel_iterations=threads,
        )
        return pixels, labels

    def _undecodable(self, error: tf.errors.OpError) -> ScenerecError:
        """tf.data does not say which image it was: tries those that were under way."""
        for batch in self.recent:
            for image, name in zip(batch.images, batch.names, strict=True):
                try:
                    _decode(image)
                except tf.errors.InvalidArgumentError as of_image:
                    return undecodable(name, of_image.message)
        return DataError(f"an image could not be prepared: {error.message}")
