import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from scenerec.models import neutral, tf_model, torch_model, zoo


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5"])
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


def test_bindings_cover_the_model_and_tell_parameters_from_buffers():
    model = tf_model.build("mobilenet_v3_small", 5, 64, seed=0)
    network = torch_model.build("mobilenet_v3_small", 5, seed=0)
    bound = tf_model.bindings(model)
    parameters = {key: tuple(tensor.shape) for key, tensor in network.named_parameters()}
    assert {b.key: tf_model.neutral_shape(b) for b in bound if b.trainable} == parameters
    assert {b.key.rpartition(".")[2] for b in bound if not b.trainable} == {"running_mean", "running_var"}
    assert {id(b.variable) for b in bound if b.trainable} == {id(v) for v in model.trainable_variables}


def test_a_state_of_other_classes_is_refused():
    model = tf_model.build("resnet18", 5, 32, seed=0)
    with pytest.raises(neutral.StateError, match=r"resnet18.*fc.weight \[6, 512\] instead of \[5, 512\]"):
        tf_model.load_state(model, torch_model.state(torch_model.build("resnet18", 6, 0)))


def test_a_size_that_the_architecture_cannot_take_is_refused():
    with pytest.raises(zoo.ImageSizeError, match="at least 63 px"):
        tf_model.build("alexnet", 5, 62, seed=0)


def test_a_saved_model_loads_without_torch(tmp_path: Path, make_pair: Callable, rng: np.random.Generator):
    network, model = make_pair("mobilenet_v3_small")
    images = rng.normal(size=(2, 64, 64, 3)).astype("float32")
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    subprocess.run([sys.executable, "-c", LOAD_WITHOUT_TORCH, str(tmp_path)], check=True)
    assert np.array_equal(np.load(tmp_path / "logits.npy"), model(images, training=False).numpy())
    with np.load(tmp_path / "state.npz") as state:
        assert_equal_states(dict(state), torch_model.state(network))


LOAD_WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["torchvision"] = None
from pathlib import Path
import numpy as np
from scenerec.models import keras_bindings
import keras
folder = Path(sys.argv[1])
model = keras.models.load_model(folder / "model.keras")
np.save(folder / "logits.npy", model(np.load(folder / "images.npy"), training=False).numpy())
np.savez(folder / "state.npz", **keras_bindings.state(model))
"""


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_with_float32_weights_and_logits(
    policy: str, set_policy: Callable, rng: np.random.Generator
):
    full = tf_model.build("mobilenet_v3_small", 5, 64, seed=0)
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
    np.testing.assert_allclose(model(images, training=False), full(images, training=False), atol=3e-3)


def test_dropout_starts_anew_at_a_given_step(rng: np.random.Generator):
    model = tf_model.build("mobilenet_v3_small", 5, 64, seed=0)
    images = rng.normal(size=(4, 64, 64, 3)).astype("float32")
    first, second = (model(images, training=True).numpy() for _ in range(2))
    tf_model.restart_dropout(model, seed=0, calls=1)
    assert np.array_equal(model(images, training=True), second)
    tf_model.restart_dropout(model, seed=0)
    assert np.array_equal(model(images, training=True), first)
    assert not np.array_equal(first, second)
