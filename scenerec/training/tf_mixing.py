"""Mixed images and their targets in TensorFlow. Mirrors torch_mixing."""

import tensorflow as tf

from scenerec.data.tf_input import Partners


def mixed_pixels(ours: tf.Tensor, theirs: tf.Tensor, partners: Partners) -> tf.Tensor:
    """Normalised pixels [n, size, size, 3] of a batch and of its partners, mixed on their device.

    Outside its rectangle an image has its opacity (mixup: Zhang et al. 2018, section 2); in it the partner alone is
    seen (CutMix: Yun et al. 2019, equation 1).
    """
    top, left, bottom, right = tf.unstack(partners.mixes.boxes[:, :, None], axis=1)
    places = tf.range(ours.shape[-2])
    rows, columns = (top <= places) & (places < bottom), (left <= places) & (places < right)
    covered = rows[:, :, None, None] & columns[:, None, :, None]
    opacities = tf.cast(partners.mixes.opacities, ours.dtype)[:, None, None, None]
    return _between(theirs, ours, tf.where(covered, tf.zeros((), ours.dtype), opacities))


def mixed_targets(labels: tf.Tensor, partners: Partners, classes: int, dtype: tf.DType) -> tf.Tensor:
    """Shares of the classes, [n, classes], of mixed images: each has those of both of its labels, by what is seen.

    Labels are class indices, int64 [n], or what is there of each class, [n, classes].
    """
    ours, theirs = (
        tf.one_hot(each, classes, dtype=dtype) if each.shape.rank == 1 else tf.cast(each, dtype)
        for each in (labels, partners.labels)
    )
    return _between(theirs, ours, tf.cast(partners.mixes.shares, dtype)[:, None])


def mixed_weights(weights: tf.Tensor, labels: tf.Tensor, partners: Partners) -> tf.Tensor:
    """What the losses of mixed images count, [n], by the weights of the classes, [classes], of both of its labels."""
    ours, theirs = tf.gather(weights, labels), tf.gather(weights, partners.labels)
    return _between(theirs, ours, tf.cast(partners.mixes.shares, weights.dtype))


def _between(start: tf.Tensor, end: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """torch.lerp; just `start` and `end` at the shares 0 and 1."""
    return start * (1 - share) + end * share
