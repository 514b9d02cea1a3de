"""Ways of `tests.bench.data` in TensorFlow."""

from collections.abc import Iterator
from pathlib import Path

from scenerec.data.tf_input import normalize, training_input  # first: torch goes before tensorflow

import numpy as np  # isort: skip
import tensorflow as tf

from scenerec.config.augment import AugmentConfig
from scenerec.config.data import DataConfig
from scenerec.data.packed_set import open_set
from scenerec.data.stream import Cursor, TrainingOrder
from scenerec.models.preprocessing import IMAGENET
from scenerec.world import World
from tests.bench.data_ways import BATCH, SIZE, Work

_normalize = tf.function(normalize, reduce_retracing=True)


def ours_tf(work: Work) -> Iterator[int]:
    """This library's input pipeline and normalisation."""
    data = open_set(f"{work.folder}/packed")
    augment = AugmentConfig(color_jitter=work.jitter)
    config = DataConfig(train=data.storage.url, val=data.storage.url, image_size=SIZE, augment=augment)
    order = TrainingOrder(work.seed, lanes=12, global_batch_size=BATCH, epochs=1)
    for batch in training_input(data, config, order, World(), Cursor(), work.cores):
        if work.jitter:
            _normalize(batch.images, tf.float32, batch.colors)
        yield len(batch.labels)


def tf_data(work: Work) -> Iterator[int]:
    """tf.data as TensorFlow's models do it: only the crop is decoded; resized with antialiasing, as all others."""
    files = [str(file) for file in sorted(Path(work.folder, "images").rglob("*.jpg"))]
    dataset = tf.data.Dataset.from_tensor_slices(files).shuffle(len(files), seed=work.seed)
    dataset = dataset.map(lambda file: _crop(file, work.jitter), num_parallel_calls=work.cores)
    options = tf.data.Options()
    options.threading.private_threadpool_size = work.cores
    for pixels in dataset.batch(BATCH).prefetch(1).with_options(options):
        yield len(pixels)


def _crop(file: tf.Tensor, jitter: float) -> tf.Tensor:
    content = tf.io.read_file(file)
    begin, size, _ = tf.image.sample_distorted_bounding_box(
        tf.io.extract_jpeg_shape(content),
        tf.zeros([1, 0, 4]),
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(0.08, 1.0),
        use_image_if_no_bounding_boxes=True,
    )
    box = tf.stack([begin[0], begin[1], size[0], size[1]])
    image = tf.image.decode_and_crop_jpeg(content, box, channels=3)
    image = tf.image.random_flip_left_right(tf.image.resize(image, [SIZE, SIZE], antialias=True))
    if not jitter:
        return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)
    image = tf.image.random_brightness(image / 255, jitter)
    image = tf.image.random_contrast(image, 1 - jitter, 1 + jitter)
    image = tf.image.random_saturation(image, 1 - jitter, 1 + jitter)
    image = tf.clip_by_value(image, 0, 1) * 255
    return (image - np.float32(IMAGENET.mean_levels)) / np.float32(IMAGENET.std_levels)
