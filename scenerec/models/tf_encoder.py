"""TensorFlow: a backbone of the zoo with heads in the place of its classifier. Mirrors torch_encoder."""

from scenerec.models import torch_encoder, torch_model, zoo  # first: torchvision goes before tensorflow

import keras  # isort: skip

from scenerec.models.heads import BATCHNORM_EPSILON, BATCHNORM_MOMENTUM, BatchNorm, Head, Heads, Linear
from scenerec.models.keras_twin.bindings import load_state
from scenerec.models.keras_twin.builder import twin
from scenerec.models.keras_twin.layers import BatchNormalization
from scenerec.models.tf_model import restart_dropout


def build(arch: str, heads: Heads, image_size: int, seed: int) -> keras.Model:
    """The twin of `torch_encoder.build(arch, heads, seed)`: same layers, same initial weights.

    Under a `tf.distribute` strategy call it in `strategy.scope()`.

    Returns:
        Normalised float32 images [batch, image_size, image_size, 3] -> what `torch_encoder.embed` gives.

    Raises:
        ModelError: `arch` is not in the zoo, or cannot take images of `image_size`.
    """
    zoo.check_image_size(arch, image_size)
    network = torch_encoder.build(arch, heads, seed)
    backbone = twin(network, image_size, name=arch)
    outputs = [backbone.output]
    for name, head in heads(backbone.output.shape[-1]).items():
        outputs.append(_apply(head, name, outputs[-1]))
    model = keras.Model(backbone.input, outputs, name=arch)
    load_state(model, torch_model.state(network))
    restart_dropout(model, seed)
    return model


def _apply(head: Head, name: str, features: keras.KerasTensor) -> keras.KerasTensor:
    """The head's output in the weights' precision."""
    for number, layer in enumerate(head):
        path = f"{name}.{number}"
        match layer:
            case Linear(_, outputs, bias):
                features = keras.layers.Dense(outputs, use_bias=bias, name=path)(features)
            case BatchNorm(channels, affine):
                pixel = keras.layers.Reshape((1, 1, channels), name=f"{path}.pixel")(features)
                normalised = BatchNormalization(BATCHNORM_MOMENTUM, BATCHNORM_EPSILON, affine, name=path)(pixel)
                features = keras.layers.Reshape((channels,), name=f"{path}.features")(normalised)
            case _:
                features = keras.layers.ReLU(name=path)(features)
    precision = str(keras.config.dtype_policy().variable_dtype)
    return keras.layers.Activation("linear", dtype=precision, name=name)(features)
