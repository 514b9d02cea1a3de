"""Binary cross-entropy in TensorFlow: each class asked by itself. Mirrors torch_bce."""

import tensorflow as tf


def binary_cross_entropies(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Means over the classes of -t log s(x) - (1 - t) log(1 - s(x)), [n], where s is the logistic function.

    Of logits x and targets t from 0 to 1, both [n, classes] and of one dtype.
    """
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(targets, logits), axis=1)
