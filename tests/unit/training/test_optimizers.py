"""The TensorFlow optimizers against torch's: the same rule, step by step, and state that crosses over."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from timm.optim import Lamb

from scenerec.config.optimize import OptimizeConfig
from scenerec.config.train import FUSED
from scenerec.training import tf_optimizers, torch_optimizers

SHAPES = {"layer.weight": (3, 4), "layer.bias": (4,), "conv.weight": (2, 3, 3, 3)}
LR_FACTORS = {"layer.weight": 1.0, "layer.bias": 1.0, "conv.weight": 0.25}
SETTINGS = [
    {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 0.05},
    {"optimizer": "sgd", "momentum": 0.9, "nesterov": False},
    {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.05},
    {"optimizer": "adamw", "weight_decay": 0.1, "betas": (0.8, 0.95), "eps": 1e-3},
    {"optimizer": "lars", "momentum": 0.9, "weight_decay": 0.05, "trust_coefficient": 0.02},
    {"optimizer": "lars", "momentum": 0.0},
    {"optimizer": "lamb", "weight_decay": 0.1, "betas": (0.8, 0.95), "eps": 1e-3},
    {"optimizer": "lamb", "trust_clip": True},
]


def optimize(**fields: Any) -> OptimizeConfig:
    return OptimizeConfig.model_validate({"epochs": 1, "global_batch_size": 8, "lr": 0.1, **fields})


def arrays(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def stored(array: np.ndarray) -> torch.Tensor:
    """A copy as the learner stores weights: kernels of convolutions channels last."""
    tensor = torch.from_numpy(array.copy())
    return tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


class TorchSide:
    def __init__(self, config: OptimizeConfig, start: dict[str, np.ndarray], fused: bool = False) -> None:
        self.parameters = {name: torch.nn.Parameter(stored(array)) for name, array in start.items()}
        self.optimizer = torch_optimizers.Optimizer(config, self.parameters, LR_FACTORS, fused)
        self.scaler = torch.amp.GradScaler("cpu", enabled=False)

    def step(self, gradients: dict[str, np.ndarray], lr: float) -> None:
        for name, gradient in gradients.items():
            self.parameters[name].grad = stored(gradient)
        assert self.optimizer.update(lr, self.scaler)

    def weights(self) -> dict[str, np.ndarray]:
        return {name: p.detach().numpy() for name, p in self.parameters.items()}

    def state(self) -> dict[str, dict[str, np.ndarray]]:
        return self.optimizer.state()

    def load(self, state: dict, updates: int) -> None:
        """As from a checkpoint, whose arrays are in C order."""
        read = {slot: {name: np.ascontiguousarray(kept[name]) for name in kept} for slot, kept in state.items()}
        self.optimizer.load_state(read, updates)


class TfSide:
    def __init__(self, config: OptimizeConfig, start: dict[str, np.ndarray]) -> None:
        same = lambda array: array  # noqa: E731
        self.bindings: list[Any] = [
            SimpleNamespace(variable=tf.Variable(array), key=name, to_keras=same, to_neutral=same)
            for name, array in start.items()
        ]
        self.optimizer = tf_optimizers.Optimizer(config, self.bindings, LR_FACTORS)

    def step(self, gradients: dict[str, np.ndarray], lr: float) -> None:
        self.optimizer.update([tf.constant(gradients[b.key]) for b in self.bindings], tf.constant(lr))

    def weights(self) -> dict[str, np.ndarray]:
        return {b.key: b.variable.numpy() for b in self.bindings}

    def state(self) -> dict[str, dict[str, np.ndarray]]:
        return self.optimizer.state()

    def load(self, state: dict, updates: int) -> None:
        self.optimizer.load_state(state, updates)


def assert_close(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=2e-5, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("fields", SETTINGS)
def test_both_make_the_same_steps(fields: dict[str, Any]) -> None:
    config = optimize(**fields)
    ours, theirs = TorchSide(config, arrays(0)), TfSide(config, arrays(0))
    for step in range(20):
        lr = 0.1 * (step + 1) if step < 5 else 0.5 / (step + 1)  # a schedule: momentum must not remember the old rate
        for side in (ours, theirs):
            side.step(arrays(step + 1), lr)
        assert_close(ours.weights(), theirs.weights())
    for slot, tensors in ours.state().items():
        assert_close(tensors, theirs.state()[slot])


@pytest.mark.parametrize("fields", SETTINGS)
@pytest.mark.parametrize("sides", [(TorchSide, TfSide), (TfSide, TorchSide), (TorchSide, TorchSide), (TfSide, TfSide)])
def test_the_state_crosses_over(fields: dict[str, Any], sides: tuple[Any, Any]) -> None:
    config = optimize(**fields)
    first = sides[0](config, arrays(0))
    for step in range(4):
        first.step(arrays(step + 1), 0.1)
    second = sides[1](config, {name: array.copy() for name, array in first.weights().items()})
    second.load(first.state(), 4)
    for step in range(4, 8):
        first.step(arrays(step + 1), 0.05)
        second.step(arrays(step + 1), 0.05)
    assert_close(first.weights(), second.weights())


@pytest.mark.parametrize("fields", [fields for fields in SETTINGS if fields["optimizer"] in FUSED])
def test_a_fused_optimizer_makes_the_same_steps_and_its_state_crosses_over(fields: dict[str, Any]) -> None:
    config = optimize(**fields)
    plain, first = (TorchSide(config, arrays(0), fused) for fused in (False, True))
    for step in range(4):
        plain.step(arrays(step + 1), 0.1)
        first.step(arrays(step + 1), 0.1)
    assert_close(plain.weights(), first.weights())
    resumed, unfused = (TorchSide(config, first.weights(), fused) for fused in (True, False))
    for side in (resumed, unfused):
        side.load(first.state(), 4)
    for step in range(4, 8):
        for side in (first, resumed, unfused):
            side.step(arrays(step + 1), 0.05)
    for name, array in first.weights().items():
        np.testing.assert_array_equal(array, resumed.weights()[name])
    assert_close(first.weights(), unfused.weights())


@pytest.mark.parametrize("fields", [fields for fields in SETTINGS if fields["optimizer"] in FUSED])
def test_a_fused_optimizer_keeps_nothing_of_a_first_step_that_overflows(fields: dict[str, Any]) -> None:
    plain, fused = (TorchSide(optimize(**fields), arrays(0), fused) for fused in (False, True))
    for side in (plain, fused):
        side.scaler = torch.amp.GradScaler("cpu")
        side.scaler.scale(torch.zeros(()))
        for p in side.parameters.values():
            p.grad = torch.full_like(p, torch.inf)
        used = [torch.full_like(p, 100.0) for p in side.parameters.values() for _ in range(50)]
        del used  # what is allocated next, and not filled, has such numbers
        side.scaler.unscale_(side.optimizer.rule)
        assert not side.optimizer.update(0.1, side.scaler)
        assert side.optimizer.updates == 0
        for slot in side.state().values():
            assert not any(array.any() for array in slot.values())
        side.scaler = torch.amp.GradScaler("cpu", enabled=False)
    for step in range(3):
        for side in (plain, fused):
            side.step(arrays(step + 1), 0.1)
    assert_close(plain.weights(), fused.weights())


@pytest.mark.parametrize("fields", SETTINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_resumed_is_kept_as_the_weights_are(fields: dict[str, Any], dtype: torch.dtype) -> None:
    """Else lengths would be sums in another order, and fp64 would go on in float32."""
    side = TorchSide(optimize(**fields), arrays(0))
    for p in side.parameters.values():
        p.data = p.data.to(dtype)
    side.load(side.state(), 1)
    for p in side.parameters.values():
        kept = [tensor for slot, tensor in side.optimizer.rule.state[p].items() if slot != "step"]
        assert kept and all((tensor.dtype, tensor.stride()) == (dtype, p.stride()) for tensor in kept)


def test_biases_do_not_decay() -> None:
    config = optimize(optimizer="sgd", momentum=0.0, weight_decay=0.5)
    zeros = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    for side in (TorchSide(config, arrays(0)), TfSide(config, arrays(0))):
        side.step(zeros, 0.1)
        np.testing.assert_array_equal(side.weights()["layer.bias"], arrays(0)["layer.bias"])
        np.testing.assert_allclose(side.weights()["layer.weight"], arrays(0)["layer.weight"] * 0.95, rtol=1e-6)


@pytest.mark.parametrize("side", [TorchSide, TfSide])
def test_lars_moves_a_weight_by_a_share_of_its_length(side: Any) -> None:
    """You et al. 2017, algorithm 1, by hand."""
    made = side(optimize(optimizer="lars", momentum=0.5, weight_decay=0.2, trust_coefficient=0.01), arrays(0))
    momentum = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    for step in range(3):
        before, gradients = {name: array.copy() for name, array in made.weights().items()}, arrays(step + 1)
        made.step(gradients, 0.1)
        for name, weight in before.items():
            local = gradients[name] + 0.2 * weight if weight.ndim > 1 else gradients[name]
            trust = 0.01 * np.linalg.norm(weight) / np.linalg.norm(local) if weight.ndim > 1 else 1
            momentum[name] = 0.5 * momentum[name] + trust * local
            expected = weight - 0.1 * LR_FACTORS[name] * momentum[name]
            np.testing.assert_allclose(made.weights()[name], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("side", [TorchSide, TfSide])
def test_lars_leaves_what_has_no_length_to_its_gradient(side: Any) -> None:
    zeros = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    made = side(optimize(optimizer="lars", momentum=0.0), zeros)
    made.step(arrays(1), 0.1)
    np.testing.assert_allclose(made.weights()["layer.weight"], -0.1 * arrays(1)["layer.weight"], rtol=1e-6)
    still = side(optimize(optimizer="lars", momentum=0.9), arrays(0))
    still.step(zeros, 0.1)
    assert all(np.array_equal(still.weights()[name], array) for name, array in arrays(0).items())


@pytest.mark.parametrize("side", [TorchSide, TfSide])
@pytest.mark.parametrize("trust_clip", [False, True])
@pytest.mark.parametrize("scale", [1.0, 100.0])  # of the first weights: steps are shorter than these
def test_lamb_is_timms(side: Any, trust_clip: bool, scale: float) -> None:
    start = {name: scale * array for name, array in arrays(0).items()}
    config = optimize(optimizer="lamb", weight_decay=0.1, eps=1e-6, trust_clip=trust_clip)
    made = side(config, {name: array.copy() for name, array in start.items()})
    weights = {name: torch.nn.Parameter(torch.from_numpy(array)) for name, array in start.items()}
    groups = [
        {"params": [p], "weight_decay": 0.1 if p.ndim > 1 else 0.0, "lr": 0.1 * LR_FACTORS[name]}
        for name, p in weights.items()
    ]
    timms = Lamb(groups, eps=1e-6, max_grad_norm=None, trust_clip=trust_clip, foreach=False)
    for step in range(5):
        gradients = arrays(step + 1)
        made.step(gradients, 0.1)
        for name, p in weights.items():
            p.grad = torch.from_numpy(gradients[name])
        timms.step()
        assert_close(made.weights(), {name: p.detach().numpy() for name, p in weights.items()})


@pytest.mark.parametrize("side", [TorchSide, TfSide])
def test_lamb_makes_adams_step_where_nothing_has_a_length(side: Any) -> None:
    zeros = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    made = side(optimize(optimizer="lamb"), zeros)
    made.step(arrays(1), 0.1)
    np.testing.assert_allclose(made.weights()["layer.weight"], -0.1 * np.sign(arrays(1)["layer.weight"]), rtol=1e-4)
    still = side(optimize(optimizer="lamb"), arrays(0))
    still.step(zeros, 0.1)
    assert all(np.array_equal(still.weights()[name], array) for name, array in arrays(0).items())


@pytest.mark.parametrize("side", [TorchSide, TfSide])
def test_a_learning_rate_is_multiplied_by_its_factor(side: Any) -> None:
    made = side(optimize(optimizer="sgd", momentum=0.0), arrays(0))
    gradients = arrays(1)
    for _ in range(2):  # the factor multiplies the given rate, not the last one
        before = {name: array.copy() for name, array in made.weights().items()}
        made.step(gradients, 0.1)
        for name, array in made.weights().items():
            np.testing.assert_allclose(before[name] - array, 0.1 * LR_FACTORS[name] * gradients[name], atol=1e-6)


def test_gradients_are_clipped_alike() -> None:
    gradients = arrays(3)
    parameters = {name: torch.nn.Parameter(torch.zeros(shape)) for name, shape in SHAPES.items()}
    for name, gradient in gradients.items():
        parameters[name].grad = torch.from_numpy(gradient.copy())
    torch_optimizers.clip_by_global_norm(parameters, 1.5)
    clipped = tf_optimizers.clip_by_global_norm([tf.constant(gradient) for gradient in gradients.values()], 1.5)
    for p, ours in zip(parameters.values(), clipped, strict=True):
        assert p.grad is not None
        np.testing.assert_allclose(p.grad.numpy(), ours.numpy(), rtol=1e-5)
