import numpy as np
import pytest
import tensorflow as tf
import torch
from torch import nn

from scenerec.models.keras_twin import layers


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-13)])
def test_batch_normalization_updates_statistics_as_torch_does(rng: np.random.Generator, dtype: str, tolerance: float):
    theirs = nn.BatchNorm2d(3, momentum=0.3, dtype=getattr(torch, dtype))
    ours = layers.BatchNormalization(momentum=0.3, dtype=dtype)
    for _ in range(3):
        images = rng.normal(1.0, 2.0, size=(2, 2, 2, 3)).astype(dtype)  # 8 values: the bias is 1 in 8
        expected = theirs(torch.from_numpy(images.transpose(0, 3, 1, 2)))
        np.testing.assert_allclose(ours(images, training=True), expected.detach().permute(0, 2, 3, 1), atol=tolerance)
    np.testing.assert_allclose(ours.moving_mean.numpy(), theirs.running_mean, rtol=tolerance)
    np.testing.assert_allclose(ours.moving_variance.numpy(), theirs.running_var, rtol=tolerance)
    expected = theirs.eval()(torch.from_numpy(images.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(ours(images), expected.detach().permute(0, 2, 3, 1), atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-13)])
def test_batch_normalization_has_torchs_gradients(rng: np.random.Generator, dtype: str, tolerance: float):
    theirs = nn.BatchNorm2d(3, dtype=getattr(torch, dtype))
    ours = layers.BatchNormalization(dtype=dtype)
    images, weights = (rng.normal(1.0, 2.0, size=(4, 2, 2, 3)).astype(dtype) for _ in range(2))
    ours.build(images.shape)
    ours.gamma.assign([0.5, 1.0, 2.0])
    theirs.weight.data = torch.tensor([0.5, 1.0, 2.0], dtype=theirs.weight.dtype)
    x = torch.from_numpy(images.transpose(0, 3, 1, 2)).requires_grad_()
    (theirs(x) * torch.from_numpy(weights.transpose(0, 3, 1, 2))).sum().backward()
    variables = [tf.constant(images), ours.gamma.value, ours.beta.value]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        total = tf.reduce_sum(ours(variables[0], training=True) * weights)
    gradients = tape.gradient(total, variables)
    for gradient, expected in zip(
        gradients, [x.grad.permute(0, 2, 3, 1), theirs.weight.grad, theirs.bias.grad], strict=True
    ):
        np.testing.assert_allclose(gradient, expected, atol=tolerance * float(expected.abs().max()))


def test_frozen_batch_normalization_uses_and_keeps_its_statistics(rng: np.random.Generator):
    layer = layers.BatchNormalization()
    images = rng.normal(1.0, 2.0, size=(4, 2, 2, 3)).astype("float32")
    layer(images)
    layer.trainable = False
    assert np.array_equal(layer(images, training=True), layer(images, training=False))
    assert np.array_equal(layer.moving_mean.numpy(), np.zeros(3))


def test_batch_normalization_compiles_to_xla(rng: np.random.Generator):
    layer = layers.BatchNormalization()
    images = rng.normal(size=(4, 2, 2, 3)).astype("float32")
    plain = layer(images, training=True)
    fresh = layers.BatchNormalization()
    fresh.build(images.shape)
    compiled = tf.function(lambda x: fresh(x, training=True), jit_compile=True)(tf.constant(images))
    np.testing.assert_allclose(compiled, plain, atol=1e-5)
    np.testing.assert_allclose(fresh.moving_variance.numpy(), layer.moving_variance.numpy(), rtol=1e-5)


@pytest.mark.parametrize("rows", [False, True])
def test_dropout_drops_its_rate_and_keeps_the_mean(rows: bool):
    layer = layers.Dropout(0.25, rows=rows)
    y = layer(np.ones((4000, 2, 3), "float32"), training=True).numpy()
    assert set(np.unique(y)) == {np.float32(0.0), np.float32(1 / 0.75)}
    assert y.mean() == pytest.approx(1.0, abs=0.05)
    whole_rows = np.isin(y.reshape(4000, -1).sum(axis=1), [0.0, np.float32(6 / 0.75)]).all()
    assert whole_rows == rows


def test_dropout_does_nothing_at_inference():
    layer = layers.Dropout(0.25)
    x = np.ones((4, 3), "float32")
    assert np.array_equal(layer(x, training=False), x)


def test_dropout_draws_anew_at_each_call_and_repeats_after_a_restart():
    layer = layers.Dropout(0.5)
    x = np.ones((8, 64), "float32")
    layer.build(x.shape)
    layer.restart(7)
    draws = [layer(x, training=True).numpy() for _ in range(3)]
    assert not np.array_equal(draws[0], draws[1])
    layer.restart(7, calls=2)
    assert np.array_equal(layer(x, training=True), draws[2])
    layer.restart(8)
    assert not np.array_equal(layer(x, training=True), draws[0])


def test_dropout_compiles_to_xla():
    layer = layers.Dropout(0.5)
    x = tf.ones((8, 64))
    layer.build(x.shape)
    compiled = tf.function(lambda: layer(x, training=True), jit_compile=True)
    assert not np.array_equal(compiled(), compiled())
    assert layer.random_state.numpy().tolist() == [0, 2]


@pytest.mark.parametrize(("image", "size"), [((1, 1), (6, 6)), ((5, 7), (3, 3)), ((2, 9), (7, 4))])
def test_adaptive_average_pooling_is_torchs(image: tuple, size: tuple, rng: np.random.Generator):
    x = rng.normal(size=(2, *image, 3)).astype("float32")
    expected = nn.AdaptiveAvgPool2d(size)(torch.from_numpy(x.transpose(0, 3, 1, 2))).permute(0, 2, 3, 1)
    np.testing.assert_allclose(layers.AdaptiveAveragePooling2D(size)(x), expected, atol=1e-6)
