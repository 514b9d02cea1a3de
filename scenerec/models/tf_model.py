"""TensorFlow: builds a classifier, and takes its weights to and from the neutral state. Mirrors torch_model."""

from scenerec.models import torch_model, zoo  # first: torchvision goes before tensorflow

import keras  # isort: skip

from scenerec.models.geo import GeoSpec
from scenerec.models.keras_twin.bindings import Binding, bindings, load_state, neutral_shape, state
from scenerec.models.keras_twin.builder import twin
from scenerec.models.keras_twin.layers import Dropout

__all__ = ["Binding", "bindings", "build", "load_state", "neutral_shape", "restart_dropout", "state"]


def build(
    arch: str, classes: int, image_size: int, seed: int, geo: GeoSpec | None = None, drop_path: float | None = None
) -> keras.Model:
    """The twin of `torch_model.build(arch, classes, seed, geo, drop_path)`: same layers, same initial weights.

    Under a `tf.distribute` strategy call it in `strategy.scope()`; mixed precision is Keras's global dtype
    policy.

    Returns:
        Normalised float32 images [batch, image_size, image_size, 3], with `geo` a list of them, coordinates [batch, 3]
        and known [batch, 2] -> float32 logits [batch, classes].

    Raises:
        ModelError: `arch` is not in the zoo, or cannot take images of `image_size`.
        UnsupportedOperationError: `arch` uses an operation that has no Keras equivalent.
    """
    zoo.check_image_size(arch, image_size)
    network = torch_model.build(arch, classes, seed, geo, drop_path)
    model = twin(network, image_size, name=arch)
    load_state(model, torch_model.state(network))
    restart_dropout(model, seed)
    return model


def at_size(model: keras.Model, arch: str, classes: int, image_size: int, geo: GeoSpec | None = None) -> keras.Model:
    """The network of `model`, which `build` has made of the same arguments, for images of another size.

    It has no weights of its own, but those of `model`; under a strategy call it in `strategy.scope()`.

    Raises:
        ModelError: `arch` cannot take images of `image_size`.
        UnsupportedOperationError: a layer with weights would be another one at this size.
    """
    zoo.check_image_size(arch, image_size)
    return twin(torch_model.build(arch, classes, 0, geo), image_size, name=arch, shared=model)


def restart_dropout(model: keras.Model, seed: int, calls: int = 0) -> None:
    """Seed all dropout, and let it go on as after `calls` calls of the model in training.

    Each layer draws its own numbers, and so does each replica of a strategy.
    """
    for layer in model.layers:
        if isinstance(layer, Dropout):
            layer.restart(seed % 2**31, calls)
