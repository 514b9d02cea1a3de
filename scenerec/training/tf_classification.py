"""Classification in TensorFlow: cross-entropy, and who ranked first or among the first five.

Mirrors torch_classification.
"""

import tensorflow as tf

from scenerec.config.optimize import OptimizeConfig


def training_losses(logits: tf.Tensor, labels: tf.Tensor, config: OptimizeConfig) -> tf.Tensor:
    """Cross-entropies [n] with label smoothing (Szegedy et al. 2016, section 7), of logits [n, classes]."""
    smoothing = config.label_smoothing
    targets = tf.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    targets = targets * (1 - smoothing) + smoothing / logits.shape[-1]
    return tf.nn.softmax_cross_entropy_with_logits(targets, logits)


def count(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Sum of the cross-entropies, samples whose class ranked first, samples whose class was among the first five."""
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    ranked = tf.math.top_k(logits, min(5, logits.shape[-1])).indices == tf.cast(labels, tf.int32)[:, None]
    hits = tf.cast(ranked, tf.int32)
    return tf.reduce_sum(losses), tf.reduce_sum(hits[:, 0]), tf.reduce_sum(hits)
