"""Blocks that are computed once more for the backward pass: the same to the last bit, in both frameworks."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from scenerec.models import tf_model, torch_dropout, torch_model, torch_recompute
from scenerec.models.blocks import block_paths
from scenerec.models.tf_recompute import Recomputing
from scenerec.models.torch_freezing import train_mode
from tests.matrix import FAMILIES, keep
from tests.parity import smallest_telling_size

import keras  # isort: skip
import tensorflow as tf

from scenerec.models.keras_twin.drop_draws import drop_keys  # isort: skip

SINGLE_LAYERS = ("alexnet", "vgg11", "vgg11_bn")
KEYS = np.array([7, 8, 2**32 - 1])
ARCHS = sorted(FAMILIES - set(SINGLE_LAYERS))
KEPT = {"mobilenet_v3_small", "swin_t"}
"""With BatchNorm and dropout; with stochastic depth that is called twice a block."""


def images(arch: str) -> np.ndarray:
    side = smallest_telling_size(arch)
    return np.random.default_rng(0).normal(size=(len(KEYS), side, side, 3)).astype(np.float32)


class TorchPass:
    """What a pass in training leaves: logits, gradients, running statistics, and how many numbers it has kept."""

    def __init__(self, arch: str, recomputes: bool) -> None:
        network = torch_model.build(arch, 5, seed=0)
        draws = torch_dropout.draw_by_sample(network)
        names = [name for name, _ in network.named_parameters()]
        if recomputes:
            torch_recompute.recompute(network, block_paths(arch, names))
        train_mode(network)
        self.kept = 0

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            self.kept += tensor.numel()
            return tensor

        for _ in range(2):  # the second by what the first has left
            draws.begin(torch.from_numpy(KEYS))
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                self.logits = network(torch.from_numpy(images(arch).transpose(0, 3, 1, 2)))
            self.logits.square().sum().backward()
        self.gradients = {name: p.grad for name, p in network.named_parameters()}
        self.state = network.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize("arch", keep(KEPT, ARCHS))
def test_torch_learns_the_same_and_keeps_less(arch: str) -> None:
    plain, recomputing = (TorchPass(arch, recomputes) for recomputes in (False, True))
    assert torch.equal(plain.logits, recomputing.logits)
    for name, gradient in plain.gradients.items():
        assert torch.equal(gradient, recomputing.gradients[name]), name
    for name, tensor in plain.state.items():
        assert torch.equal(tensor, recomputing.state[name]), name
    assert recomputing.kept < 0.75 * plain.kept


class TfPass:
    """The same of the twin, in Keras's dtype; without `keys` dropout goes by the state of its layers."""

    def __init__(self, arch: str, recomputes: bool, keys: np.ndarray | None = KEYS, compiles: bool = False) -> None:
        model = tf_model.build(arch, 5, smallest_telling_size(arch), seed=0)
        variables = {b.key: b.variable for b in tf_model.bindings(model) if b.trainable}
        network = Recomputing(model, block_paths(arch, list(variables))) if recomputes else model

        @tf.function(jit_compile=compiles)
        def step(pixels: tf.Tensor, keys: tf.Tensor | None) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
            weights = {name: variable.value for name, variable in variables.items()}
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(weights)
                with drop_keys(keys):
                    logits = network(pixels, training=True)
                loss = tf.reduce_sum(tf.square(logits))
            return logits, tape.gradient(loss, weights)

        pixels = tf.constant(images(arch), model.compute_dtype)
        for _ in range(2):
            logits, gradients = step(pixels, None if keys is None else tf.constant(keys))
        state = {variable.path: variable.numpy() for variable in model.variables}
        self.left = {"logits": logits.numpy(), **{key: array.numpy() for key, array in gradients.items()}, **state}


@pytest.fixture
def in_float64() -> Iterator[None]:
    """Keras's dtype policy is that of the whole process."""
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.slow
def test_tensorflow_learns_the_same() -> None:
    """To the last bit, where its graph optimizer finds nothing to simplify in a forward pass without a backward one."""
    plain, recomputing = (TfPass("resnet18", recomputes).left for recomputes in (False, True))
    assert plain.keys() == recomputing.keys()
    for name, array in plain.items():
        np.testing.assert_array_equal(array, recomputing[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("arch", keep(KEPT, ARCHS))
def test_tensorflow_learns_the_same_but_for_rounding(arch: str) -> None:
    assert_close(*(TfPass(arch, recomputes).left for recomputes in (False, True)))


@pytest.mark.slow
@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("compiles", [False, True])
def test_dropout_by_its_own_state_goes_on_once_a_step(compiles: bool) -> None:
    plain = TfPass("mobilenet_v3_small", recomputes=False, keys=None).left
    recomputing = TfPass("mobilenet_v3_small", recomputes=True, keys=None, compiles=compiles).left
    assert_close(plain, recomputing)
    (calls,) = {int(array[1]) for name, array in recomputing.items() if name.endswith("random_state")}
    assert calls == 2


def assert_close(plain: dict[str, np.ndarray], recomputing: dict[str, np.ndarray]) -> None:
    assert plain.keys() == recomputing.keys()
    for name, array in plain.items():
        tolerance = 1e-6 * np.abs(array).max() + 1e-12
        np.testing.assert_allclose(array, recomputing[name], rtol=0, atol=tolerance, err_msg=name)
