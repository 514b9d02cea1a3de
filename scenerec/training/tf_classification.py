"""Classification in TensorFlow: the loss, and who ranked first or among the first five.

Mirrors torch_classification.
"""

import tensorflow as tf

from scenerec.config.optimize import OptimizeConfig
from scenerec.training.tf_bce import binary_cross_entropies


def training_losses(
    logits: tf.Tensor, targets: tf.Tensor, config: OptimizeConfig, label_weights: tf.Tensor | None = None
) -> tf.Tensor:
    """Losses [n] by `config.loss`, of logits [n, classes] and classes int64 [n], or of shares of them [n, classes].

    Cross-entropies with label smoothing (Szegedy et al. 2016, section 7); or binary ones (Wightman, Touvron and Jégou
    2021, section 3), whose targets are smoothed likewise, and then 1 above `config.bce_threshold` and 0 elsewhere.
    `label_weights` are None: images are weighed here, and the learner does it.
    """
    classes, smoothing = logits.shape[-1], config.label_smoothing
    shares = tf.one_hot(targets, classes, dtype=logits.dtype) if targets.shape.rank == 1 else targets
    shares = shares * (1 - smoothing) + smoothing / classes
    if config.loss == "cross_entropy":
        return tf.nn.softmax_cross_entropy_with_logits(shares, logits)
    threshold = config.bce_threshold
    return binary_cross_entropies(logits, shares if threshold is None else tf.cast(shares > threshold, logits.dtype))


def count(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Sum of the cross-entropies, samples whose class ranked first, samples whose class was among the first five."""
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    ranked = tf.math.top_k(logits, min(5, logits.shape[-1])).indices == tf.cast(labels, tf.int32)[:, None]
    hits = tf.cast(ranked, tf.int32)
    return tf.reduce_sum(losses), tf.reduce_sum(hits[:, 0]), tf.reduce_sum(hits)
