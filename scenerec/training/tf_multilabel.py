"""Multi-label classification in TensorFlow: each label asked by itself. Mirrors torch_multilabel."""

import tensorflow as tf

from scenerec.config.optimize import OptimizeConfig
from scenerec.training.tf_bce import binary_cross_entropies


def training_losses(
    logits: tf.Tensor, targets: tf.Tensor, config: OptimizeConfig, label_weights: tf.Tensor | None
) -> tf.Tensor:
    """Binary cross-entropies [n], means over the classes, of logits and labels (from 0 to 1), both [n, classes].

    A label that is there counts by `label_weights`, [classes].
    """
    return binary_cross_entropies(logits, tf.cast(targets, logits.dtype), label_weights)


def count(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """The answers and the labels as they are."""
    return logits, labels
