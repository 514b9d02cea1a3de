import math
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from scenerec.models.keras_twin import attention_layers
from tests.matrix import keep

WIDTH = 64

LAYERS: dict[str, tuple[Callable[[], keras.layers.Layer], tuple[int, ...]]] = {
    "multihead": (lambda: attention_layers.MultiheadAttention(heads=2), (4, 64, WIDTH)),
    "relative positional": (lambda: attention_layers.RelativePositionalAttention(heads=2, side=4), (4, 4, 16, WIDTH)),
    "shifted window": (lambda: attention_layers.ShiftedWindowAttention((4, 4), (2, 2), heads=2), (4, 8, 8, WIDTH)),
    "shifted window v2": (lambda: attention_layers.ShiftedWindowAttentionV2((4, 4), (2, 2), heads=2), (4, 8, 8, WIDTH)),
}


def build(name: str) -> tuple[keras.layers.Layer, tuple[int, ...]]:
    make, shape = LAYERS[name]
    layer = make()
    layer.build(shape)
    return layer, shape


@pytest.mark.parametrize("name", LAYERS)
def test_the_backward_pass_holds_nothing_larger_than_weights_and_activations(name: str):
    layer, shape = build(name)
    graph = tf.function(gradients).get_concrete_function(layer, tf.TensorSpec(shape)).graph
    shapes = [tensor.shape for operation in graph.get_operations() for tensor in operation.outputs]
    largest = max(math.prod(shape) for shape in shapes if shape.is_fully_defined())
    assert largest <= 3 * WIDTH * max(WIDTH, math.prod(shape[:-1]))  # queries, keys and values, or their weights


def gradients(layer: keras.layers.Layer, x: tf.Tensor) -> list[tf.Tensor]:
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x) ** 2)
    return tape.gradient(loss, [weight.value for weight in layer.trainable_weights])


@pytest.mark.slow
@pytest.mark.parametrize("name", keep({"relative positional", "shifted window v2"}, LAYERS))
def test_attention_compiles_to_xla(name: str, rng: np.random.Generator):
    layer, shape = build(name)
    for weight in layer.weights:
        weight.assign(rng.normal(0.0, 0.3, weight.shape))
    x = tf.constant(rng.normal(size=shape).astype("float32"))
    compiled = tf.function(gradients, jit_compile=True)(layer, x)
    for plain, gradient in zip(gradients(layer, x), compiled, strict=True):
        np.testing.assert_allclose(gradient, plain, atol=1e-5 * np.abs(plain).max())
