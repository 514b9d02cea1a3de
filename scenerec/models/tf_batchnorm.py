"""BatchNorm's statistics of a batch in TensorFlow. Mirrors torch_batchnorm."""

from collections.abc import Callable

from scenerec.models import tf_model  # noqa: F401  (first: torchvision goes before tensorflow)

import keras  # isort: skip
import numpy as np
import tensorflow as tf

from scenerec.models.keras_twin.layers import BatchNormalization

Layers = list[BatchNormalization]


def trained_layers(model: keras.Model) -> Layers:
    """BatchNorm of a twin, but for what is frozen: that keeps its statistics."""
    return [layer for layer in model.layers if isinstance(layer, BatchNormalization) and layer.trainable]


def measure(layers: Layers, forward: Callable[[], object]) -> tf.Tensor:
    """Each layer's mean and biased variance over a batch, one layer after the other; float64 [2, channels].

    `forward` lets the batch through the model in evaluation, but that `layers` normalise by the batch, as in training;
    dropout draws nothing. To be traced: it changes no variable.
    """
    for layer in layers:
        layer.measures = True
    try:
        forward()
        moments = [layer.measured for layer in layers]
    finally:
        for layer in layers:
            layer.measures, layer.measured = False, None
    return tf.stack(
        [tf.concat([tf.cast(part, tf.float64) for part in parts], axis=0) for parts in zip(*moments, strict=True)]
    )


def statistics(layers: Layers) -> dict[str, np.ndarray]:
    """A copy of the running statistics by torch's names."""
    return {
        f"{layer.name}.{kind}": variable.numpy()
        for layer in layers
        for kind, variable in (("running_mean", layer.moving_mean), ("running_var", layer.moving_variance))
    }


def set_statistics(layers: Layers, statistics: np.ndarray) -> None:
    """Sets the running statistics to what `measure` would give, [2, channels]."""
    start = 0
    for layer in layers:
        end = start + layer.moving_mean.shape[0]
        mean, variance = statistics[:, start:end]
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)
        start = end
