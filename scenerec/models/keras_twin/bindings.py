"""Which Keras variable is which torch tensor, and how their layouts differ. No torch here."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import keras
import numpy as np

from scenerec.models import neutral
from scenerec.models.keras_twin import (  # noqa: F401  (their layers can be loaded)
    attention_layers,
    coordinate_layers,
    tensor_layers,
)
from scenerec.models.keras_twin.layers import TwinLayer

Convert = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Binding:
    """One weight in both frameworks.

    Whatever has the weight's shape (a gradient, a momentum buffer, a moving average) converts as the weight does.

    Attributes:
        variable: the Keras variable.
        key: torch's `state_dict` name.
        trainable: a parameter, unless it is frozen; else a buffer.
        to_keras: from torch's layout to the variable's.
        to_neutral: from the variable's layout to torch's.
    """

    variable: keras.Variable
    key: str
    trainable: bool
    to_keras: Convert
    to_neutral: Convert


def bindings(model: keras.Model) -> list[Binding]:
    """The bindings of all weights of a twin; random states and constants are not weights."""
    return [binding for layer in model.layers for binding in _layer_bindings(layer)]


def state(model: keras.Model) -> neutral.State:
    """A copy of the model's weights as the neutral state (see `scenerec.models.neutral`)."""
    return {
        binding.key: np.ascontiguousarray(binding.to_neutral(np.array(binding.variable.numpy(), np.float32)))
        for binding in bindings(model)
    }


def load_state(model: keras.Model, state: Mapping[str, np.ndarray]) -> None:
    """Overwrite the model's weights, in place; under a strategy on every replica of this process.

    Raises:
        StateError: keys or shapes differ from the model's.
    """
    bound = bindings(model)
    neutral.check_fits({binding.key: neutral_shape(binding) for binding in bound}, state, model.name)
    for binding in bound:
        binding.variable.assign(binding.to_keras(np.asarray(state[binding.key])))


def neutral_shape(binding: Binding) -> tuple[int, ...]:
    """The shape that the weight has in torch."""
    placeholder = np.broadcast_to(np.float32(0), tuple(binding.variable.shape))
    return binding.to_neutral(placeholder).shape


def _layer_bindings(layer: keras.layers.Layer) -> Iterator[Binding]:
    if isinstance(layer, TwinLayer):
        for key, variable in layer.neutral_weights().items():
            yield Binding(variable, key, variable.trainable, _same, _same)
    elif type(layer) in _LAYOUTS:
        for attribute, suffix, layout in _LAYOUTS[type(layer)]:
            variable = getattr(layer, attribute)
            if variable is not None:
                to_keras, to_neutral = layout(variable)
                yield Binding(variable, f"{layer.name}.{suffix}", variable.trainable, to_keras, to_neutral)


def _same(array: np.ndarray) -> np.ndarray:
    return array


def _unchanged(variable: keras.Variable) -> tuple[Convert, Convert]:
    return _same, _same


def _dense_kernel(variable: keras.Variable) -> tuple[Convert, Convert]:
    """[out, in] <-> [in, out]."""
    return np.transpose, np.transpose


def _convolution_kernel(variable: keras.Variable) -> tuple[Convert, Convert]:
    """[out, in / groups, height, width] <-> [height, width, in / groups, out]."""
    return lambda a: a.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1)


def _sequence_kernel(variable: keras.Variable) -> tuple[Convert, Convert]:
    """[out, in / groups, length] <-> [length, in / groups, out]."""
    return np.transpose, np.transpose


def _depthwise_kernel(variable: keras.Variable) -> tuple[Convert, Convert]:
    """[in * multiplier, 1, height, width] <-> [height, width, in, multiplier]."""
    height, width, channels, multiplier = variable.shape
    return (
        lambda a: a.transpose(2, 3, 0, 1).reshape(height, width, channels, multiplier),
        lambda a: a.reshape(height, width, channels * multiplier, 1).transpose(2, 3, 0, 1),
    )


# layer class -> (attribute of the variable, torch's name of it, layout)
_LAYOUTS: dict[type, tuple[tuple[str, str, Callable[[keras.Variable], tuple[Convert, Convert]]], ...]] = {
    keras.layers.Conv1D: (("kernel", "weight", _sequence_kernel), ("bias", "bias", _unchanged)),
    keras.layers.Conv2D: (("kernel", "weight", _convolution_kernel), ("bias", "bias", _unchanged)),
    keras.layers.DepthwiseConv2D: (("kernel", "weight", _depthwise_kernel), ("bias", "bias", _unchanged)),
    keras.layers.Dense: (("kernel", "weight", _dense_kernel), ("bias", "bias", _unchanged)),
    keras.layers.GroupNormalization: (("gamma", "weight", _unchanged), ("beta", "bias", _unchanged)),
    keras.layers.LayerNormalization: (("gamma", "weight", _unchanged), ("beta", "bias", _unchanged)),
}
