"""Binary cross-entropy in TensorFlow: each class asked by itself. Mirrors torch_bce."""

import tensorflow as tf


def binary_cross_entropies(
    logits: tf.Tensor, targets: tf.Tensor, positive_weights: tf.Tensor | None = None
) -> tf.Tensor:
    """Means over the classes of -w t log s(x) - (1 - t) log(1 - s(x)), [n], where s is the logistic function.

    Of logits x and targets t from 0 to 1, both [n, classes], and weights w [classes], by default 1; all of one dtype.
    (torch's BCEWithLogitsLoss calls w `pos_weight`.)
    """
    if positive_weights is None:
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(targets, logits), axis=1)
    return tf.reduce_mean(tf.nn.weighted_cross_entropy_with_logits(targets, logits, positive_weights), axis=1)
