"""The heads of a pretraining as data: the layers between a backbone's features and an embedding, and first weights.

A head is a multilayer perceptron; its layers have the numbers that torch's Sequential gives them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

import numpy as np

from scenerec.models.neutral import State

HEAD_PREFIXES = ("projector.", "predictor.")
"""With what the names of heads' tensors begin."""
BATCHNORM_MOMENTUM = 0.1
BATCHNORM_EPSILON = 1e-5

_WEIGHTS, _QUEUE = 7, 8  # streams of random numbers, beside those that torch draws backbones from


@dataclass(frozen=True)
class Linear:
    """A linear layer."""

    inputs: int
    outputs: int
    bias: bool


@dataclass(frozen=True)
class BatchNorm:
    """BatchNorm of feature vectors."""

    channels: int
    affine: bool = True
    """Whether it has a scale and an offset."""


@dataclass(frozen=True)
class Relu:
    """max(x, 0)."""


Head = tuple[Linear | BatchNorm | Relu, ...]

Heads = Callable[[int], Mapping[str, Head]]
"""From the length of a backbone's features to its heads by name, each upon the one before."""


def perceptron(widths: Sequence[int], batchnorm: bool, last_batchnorm: BatchNorm | None = None) -> Head:
    """Linear layers from widths[0] to widths[-1], with ReLU between them, and `batchnorm` before each ReLU.

    What is followed by BatchNorm has no bias, and neither has the last layer of a head with BatchNorm.
    """
    layers: list[Linear | BatchNorm | Relu] = []
    for inputs, outputs in pairwise(widths[:-1]):
        layers.append(Linear(inputs, outputs, bias=not batchnorm))
        if batchnorm:
            layers.append(BatchNorm(outputs))
        layers.append(Relu())
    layers.append(Linear(widths[-2], widths[-1], bias=not batchnorm))
    return (*layers, last_batchnorm) if last_batchnorm else tuple(layers)


def first_weights(heads: Mapping[str, Head], seed: int) -> State:
    """The neutral state of heads that have learned nothing, by `seed` alone.

    Linear layers are drawn as torch draws them: weights and biases uniform within 1 / sqrt(inputs).
    """
    state: State = {}
    for place, (name, head) in enumerate(heads.items()):
        for number, layer in enumerate(head):
            key = f"{name}.{number}"
            match layer:
                case Linear(inputs, outputs, bias):
                    draws = 2 * _uniform(outputs * (inputs + bias), seed, _WEIGHTS, place, number) - 1
                    drawn = (draws / sqrt(inputs)).astype(np.float32).reshape(outputs, inputs + bias)
                    state[f"{key}.weight"] = np.ascontiguousarray(drawn[:, :inputs])
                    if bias:
                        state[f"{key}.bias"] = np.ascontiguousarray(drawn[:, inputs])
                case BatchNorm(channels, affine):
                    ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
                    if affine:
                        state |= {f"{key}.weight": ones, f"{key}.bias": zeros}
                    state |= {f"{key}.running_mean": zeros, f"{key}.running_var": ones}
    return state


def first_queue(keys: int, size: int, seed: int) -> np.ndarray:
    """A queue before the first step, by `seed` alone: directions of uniform density, float32 [keys, size]."""
    radius, turn = _uniform(2 * keys * size, seed, _QUEUE).reshape(2, keys, size)
    normal = np.sqrt(-2 * np.log1p(-radius)) * np.cos(2 * np.pi * turn)  # Box and Muller 1958
    return (normal / np.linalg.norm(normal, axis=1, keepdims=True)).astype(np.float32)


def _uniform(count: int, *key: int) -> np.ndarray:
    """Numbers in [0, 1) by `key` alone, in every version of numpy (NEP 19): float64 [count]."""
    bits = np.random.PCG64(np.random.SeedSequence(key)).random_raw(count)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
