"""The toy task in TensorFlow. Mirrors torch_toy_task."""

import tensorflow as tf

from scenerec.config.optimize import OptimizeConfig


def training_losses(
    outputs: tf.Tensor, targets: tf.Tensor, config: OptimizeConfig, label_weights: tf.Tensor | None
) -> tf.Tensor:
    return tf.square(outputs[:, 0] - tf.cast(targets, outputs.dtype))


def count(outputs: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, ...]:
    errors = outputs[:, 0] - tf.cast(labels, outputs.dtype)
    return tf.reduce_sum(tf.square(errors)), tf.reduce_sum(tf.abs(errors))
