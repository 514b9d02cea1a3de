"""Blocks that are computed once more for the backward pass: the same to the last bit, in both frameworks."""

import numpy as np
import pytest
import torch

from scenerec.models import tf_model, torch_dropout, torch_model, torch_recompute
from scenerec.models.blocks import block_paths
from scenerec.models.tf_recompute import Recomputing
from scenerec.models.torch_freezing import train_mode
from tests.matrix import FAMILIES, keep
from tests.parity import smallest_telling_size

import tensorflow as tf  # isort: skip

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
    """The same of the twin; without `keys` dropout goes by the state of its layers, as in a pretraining."""

    def __init__(self, arch: str, recomputes: bool, keys: np.ndarray | None = KEYS, compiled: bool = False) -> None:
        self.model = tf_model.build(arch, 5, smallest_telling_size(arch), seed=0)
        variables = {b.key: b.variable for b in tf_model.bindings(self.model) if b.trainable}
        network = Recomputing(self.model, block_paths(arch, list(variables))) if recomputes else self.model

        @tf.function(jit_compile=compiled)
        def step(pixels: tf.Tensor, keys: tf.Tensor | None) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
            weights = {name: variable.value for name, variable in variables.items()}
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(weights)
                with drop_keys(keys):
                    logits = network(pixels, training=True)
                loss = tf.reduce_sum(tf.square(logits))
            return logits, tape.gradient(loss, weights)

        for _ in range(2):
            self.logits, self.gradients = step(tf.constant(images(arch)), None if keys is None else tf.constant(keys))
        self.state = {variable.path: variable.numpy() for variable in self.model.variables}
        self.step = step


@pytest.mark.slow
@pytest.mark.parametrize("arch", keep(KEPT, ARCHS))
def test_tensorflow_learns_the_same(arch: str) -> None:
    check_equal(TfPass(arch, recomputes=False), TfPass(arch, recomputes=True))


@pytest.mark.slow
def test_dropout_by_its_own_state_goes_on_once_a_step() -> None:
    plain, recomputing = (TfPass("mobilenet_v3_small", recomputes, keys=None) for recomputes in (False, True))
    check_equal(plain, recomputing)
    (calls,) = {int(array[1]) for name, array in recomputing.state.items() if name.endswith("random_state")}
    assert calls == 2


def check_equal(plain: TfPass, recomputing: TfPass) -> None:
    assert plain.state.keys() == recomputing.state.keys()
    for ours, theirs in ((plain.gradients, recomputing.gradients), (plain.state, recomputing.state)):
        for name, array in ours.items():
            np.testing.assert_array_equal(array, theirs[name], err_msg=name)
    np.testing.assert_array_equal(plain.logits, recomputing.logits)
