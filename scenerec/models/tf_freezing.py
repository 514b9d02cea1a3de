"""Freezing in TensorFlow: not trainable, and BatchNorm that keeps its statistics. Mirrors torch_freezing."""

from collections.abc import Collection

from scenerec.models import tf_model  # first: torchvision goes before tensorflow

import keras  # isort: skip

from scenerec.models.keras_twin.layers import BatchNormalization


def freeze(model: keras.Model, names: Collection[str]) -> None:
    """Mark the parameters `names` as not trainable, and BatchNorm of which nothing is trained.

    Before the first training step is traced: in a training step such a layer normalises by its running statistics
    and keeps them.
    """
    for binding in tf_model.bindings(model):
        if binding.key in names:
            binding.variable.trainable = False
    for layer in model.layers:
        if isinstance(layer, BatchNormalization) and layer.affine and not layer.trainable_variables:
            layer.trainable = False
