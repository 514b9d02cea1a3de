"""Dropout in TensorFlow by draws that depend on the sample, not on worker or framework. Mirrors torch_dropout."""

import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import tensorflow as tf

_LOW = 2**32 - 1
_GOLDEN = 0x9E3779B1

DROP_KEYS: ContextVar[tf.Tensor | None] = ContextVar("drop_keys", default=None)
"""Keys of the samples that a model is called with, int64 [n] in [0, 2^32), while it is called; None: it has none."""


@contextmanager
def drop_keys(keys: tf.Tensor | None) -> Iterator[None]:
    """Within, the dropout of any model draws by these keys of its samples."""
    token = DROP_KEYS.set(keys)
    try:
        yield
    finally:
        DROP_KEYS.reset(token)


def kept_elements(keys: tf.Tensor, name: str, places: np.ndarray, rate: float) -> tf.Tensor:
    """Which elements of each sample are kept, bool [n, elements], by keys int64 [n], and the layer's name.

    `places` are those of the elements in torch's order, int64 [elements].
    """
    starts = _hash(tf.bitwise.bitwise_xor(keys, tf.constant(zlib.crc32(name.encode()), tf.int64)))
    hashed = _hash(tf.bitwise.bitwise_and(starts[:, None] + tf.constant(places * _GOLDEN), _LOW))
    return hashed >= math.floor(rate * 2**32)


def torch_places(shape: Sequence[int], order: Sequence[int]) -> np.ndarray:
    """Places in torch's order of a sample's elements, int64 [elements], stored with `shape` (without the batch axis).

    `order[p]` is the torch axis that is stored at position p, of all axes.
    """
    axes = [axis - 1 for axis in order[1:]]
    in_torch = np.arange(math.prod(shape)).reshape([shape[axes.index(axis)] for axis in range(len(axes))])
    return in_torch.transpose(axes).ravel()


def _hash(bits: tf.Tensor) -> tf.Tensor:
    """A hash of 32 bits in int64, which no product exceeds: Wellons 2018 (hash-prospector)."""
    bits = tf.bitwise.bitwise_and(_shifted(bits, 15) * 0x2C1B3C6D, _LOW)
    bits = tf.bitwise.bitwise_and(_shifted(bits, 12) * 0x297A2D39, _LOW)
    return _shifted(bits, 15)


def _shifted(bits: tf.Tensor, count: int) -> tf.Tensor:
    return tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, tf.constant(count, tf.int64)))
