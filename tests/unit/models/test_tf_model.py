from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from scenerec.errors import ModelError
from scenerec.models import neutral, tf_freezing, tf_model, torch_model
from tests.matrix import keep


@pytest.fixture(scope="module")
def mobilenet() -> keras.Model:
    """For tests that leave it as it is."""
    return tf_model.build("mobilenet_v3_small", 5, 64, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("arch", keep({"mobilenet_v3_small"}, ["resnet18", "mobilenet_v3_small"]))
def test_weights_go_round_bit_exactly(arch: str, rng: np.random.Generator):
    model = tf_model.build(arch, 5, 64, seed=2)
    state = torch_model.state(torch_model.build(arch, 5, seed=2))
    assert_equal_states(tf_model.state(model), state)

    drawn = {key: rng.normal(size=array.shape).astype("float32") for key, array in state.items()}
    tf_model.load_state(model, drawn)
    network = torch_model.build(arch, 5, seed=0)
    torch_model.load_state(network, tf_model.state(model))
    assert_equal_states(torch_model.state(network), drawn)


def assert_equal_states(a: neutral.State, b: neutral.State) -> None:
    assert set(a) == set(b)
    assert all(np.array_equal(a[key], b[key]) and a[key].dtype == b[key].dtype for key in a)


def test_bindings_cover_the_model_and_tell_parameters_from_buffers(mobilenet: keras.Model):
    network = torch_model.build("mobilenet_v3_small", 5, seed=0)
    bound = tf_model.bindings(mobilenet)
    parameters = {key: tuple(tensor.shape) for key, tensor in network.named_parameters()}
    assert {b.key: tf_model.neutral_shape(b) for b in bound if b.trainable} == parameters
    assert {b.key.rpartition(".")[2] for b in bound if not b.trainable} == {"running_mean", "running_var"}
    assert {id(b.variable) for b in bound if b.trainable} == {id(v) for v in mobilenet.trainable_variables}


def test_a_state_of_other_classes_is_refused(mobilenet: keras.Model):
    message = r"mobilenet_v3_small.*classifier.3.weight \[6, 1024\] instead of \[5, 1024\]"
    with pytest.raises(neutral.StateError, match=message):
        tf_model.load_state(mobilenet, torch_model.state(torch_model.build("mobilenet_v3_small", 6, 0)))


def test_a_size_that_the_architecture_cannot_take_is_refused():
    with pytest.raises(ModelError, match="at least 63 px"):
        tf_model.build("alexnet", 5, 62, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("policy", keep({"mixed_bfloat16"}, ["mixed_bfloat16", "mixed_float16"]))
def test_mixed_precision_trains_with_float32_weights_and_logits(
    policy: str, mobilenet: keras.Model, set_policy: Callable, rng: np.random.Generator
):
    set_policy(policy)
    model = tf_model.build("mobilenet_v3_small", 5, 64, seed=0)
    images = rng.normal(size=(4, 64, 64, 3)).astype("float32")
    assert {b.variable.value.dtype for b in tf_model.bindings(model)} == {tf.float32}
    assert {model.get_layer("features.0.0").compute_dtype} == {policy.removeprefix("mixed_")}

    with tf.GradientTape() as tape:
        logits = model(images, training=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits([0, 1, 2, 3], logits))
    gradients = tape.gradient(loss, [b.variable.value for b in tf_model.bindings(model) if b.trainable])
    assert logits.dtype == tf.float32
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    np.testing.assert_allclose(model(images, training=False), mobilenet(images, training=False), atol=3e-3)


@pytest.mark.slow
def test_dropout_starts_anew_at_a_given_step(rng: np.random.Generator):
    model = tf_model.build("squeezenet1_1", 5, 64, seed=0)
    images = rng.normal(size=(4, 64, 64, 3)).astype("float32")
    first, second = (model(images, training=True).numpy() for _ in range(2))
    tf_model.restart_dropout(model, seed=0, calls=1)
    assert np.array_equal(model(images, training=True), second)
    tf_model.restart_dropout(model, seed=0)
    assert np.array_equal(model(images, training=True), first)
    assert not np.array_equal(first, second)


@pytest.mark.slow
@pytest.mark.parametrize("arch", keep({"mobilenet_v3_small"}, ["mobilenet_v3_small", "swin_t", "googlenet", "alexnet"]))
def test_a_model_at_another_size_has_the_same_weights(arch: str, rng: np.random.Generator):
    model, images = tf_model.build(arch, 5, 64, seed=0), rng.normal(size=(2, 96, 96, 3)).astype("float32")
    tf_freezing.freeze(model, {next(b.key for b in tf_model.bindings(model))})
    larger = tf_model.at_size(model, arch, 5, 96)
    tf_model.load_state(model, torch_model.state(torch_model.build(arch, 5, seed=3)))
    expected = tf_model.build(arch, 5, 96, seed=3)(images, training=False)
    np.testing.assert_allclose(larger(images, training=False), expected, rtol=0, atol=1e-6)
    assert {id(b.variable) for b in tf_model.bindings(larger)} == {id(b.variable) for b in tf_model.bindings(model)}


def test_a_layer_that_would_be_another_one_at_another_size_is_refused(mobilenet: keras.Model):
    with pytest.raises(ModelError, match=r"one set of weights at two image sizes, used by features\.0\.0 \(Conv2d\)"):
        tf_model.at_size(mobilenet, "mobilenet_v2", 5, 96)
