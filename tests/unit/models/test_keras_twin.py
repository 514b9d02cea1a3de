import math
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torchvision.models import GoogLeNet, ResNet
from torchvision.models.resnet import BasicBlock
from torchvision.ops import StochasticDepth

from scenerec.models import torch_model
from scenerec.models.keras_twin import bindings, builder
from scenerec.models.keras_twin.context import UnsupportedOperationError
from tests.matrix import keep

ARCHITECTURES = ["resnet18", "mobilenet_v3_small"]
"""One with plain and one with most other layers; more in tests/integration/test_twin_parity.py, all in tests/bench."""


def nchw(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def assert_close_in_scale(actual: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    assert np.abs(actual - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.slow
@pytest.mark.parametrize("arch", keep({"mobilenet_v3_small"}, ARCHITECTURES))
def test_logits_are_torchs(arch: str, make_pair: Callable, rng: np.random.Generator):
    network, twin = make_pair(arch)
    images = rng.normal(size=(2, 64, 64, 3)).astype("float32")
    with torch.no_grad():
        expected = network.eval()(nchw(images)).numpy()
    assert_close_in_scale(twin(images, training=False).numpy(), expected, 2e-5)
    assert_close_in_scale(tf.function(twin)(images, training=False).numpy(), expected, 2e-5)


class OwnNormalisation(nn.Module):
    """What a GoogLeNet does to its input."""

    transform_input = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return GoogLeNet._transform_input(self, x)


def test_an_input_is_converted_channel_by_channel_without_moving_data(rng: np.random.Generator):
    network = nn.Sequential(OwnNormalisation(), nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert_twin(network.eval(), rng.normal(size=(2, 12, 12, 3)).astype("float32"))
    twin = builder.twin(network, 12, name="twin")
    assert not any(isinstance(layer, keras.layers.Permute) for layer in twin.layers)


@pytest.mark.slow
def test_gradients_and_running_statistics_are_torchs(
    make_pair: Callable, set_policy: Callable, rng: np.random.Generator
):
    """In float64: in float32 a ReLU may take either side where its input is zero but for rounding."""
    set_policy("float64")
    network, twin = make_pair(ResNet(BasicBlock, [1, 1, 1, 1], num_classes=5), image_size=32)
    assert_same_training_step(network.double(), twin, rng.normal(size=(8, 32, 32, 3)), tolerance=1e-9)


@pytest.mark.slow
def test_attention_is_torchs(attention_network: nn.Module, twin_of: Callable, rng: np.random.Generator):
    twin = twin_of(attention_network, 32)
    assert len({id(weight) for weight in twin.weights}) == len(twin.weights)
    images = rng.normal(size=(4, 32, 32, 3)).astype("float32")
    with torch.no_grad():
        expected = attention_network.eval()(nchw(images)).numpy()
    assert_close_in_scale(twin(images, training=False).numpy(), expected, 2e-5)
    assert_same_training_step(attention_network, twin, images, tolerance=1e-3)


@pytest.mark.slow
def test_attention_survives_half_precision(
    attention_network: nn.Module, twin_of: Callable, set_policy: Callable, rng: np.random.Generator
):
    images = rng.normal(size=(4, 32, 32, 3)).astype("float32")
    with torch.no_grad():
        full = attention_network.eval()(nchw(images)).numpy()
    set_policy("mixed_float16")
    half = twin_of(attention_network, 32)(images, training=False).numpy()
    assert 0.0 < np.abs(half - full).max() <= 0.02 * np.abs(full).max()


class LinearAttention(nn.Module):
    """Sums of products that only float32 holds, as EfficientViT's."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.relu().flatten(2).float()
        products = rows @ rows.transpose(1, 2)
        return (products @ rows / (products.sum((1, 2), keepdim=True) + 1e-15)).to(x.dtype)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_what_a_network_computes_in_float32_is_computed_so_in_16_bits_too(
    policy: str, set_policy: Callable, twin_of: Callable, rng: np.random.Generator
):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), LinearAttention(), nn.Flatten(), nn.Linear(400, 5))
    images = 500 * rng.normal(size=(2, 12, 12, 3)).astype("float32")
    with torch.no_grad():
        full = network.eval()(nchw(images)).numpy()
        rows = network[0](nchw(images)).relu().flatten(2)
        assert (rows @ rows.transpose(1, 2)).max() > np.finfo(np.float16).max
    set_policy(policy)
    assert_close_in_scale(twin_of(network, 12)(images, training=False).numpy(), full, 0.02)


def assert_same_training_step(network: nn.Module, twin: keras.Model, images: np.ndarray, tolerance: float) -> None:
    """The gradients of all parameters, and then the running statistics, agree."""
    labels = np.arange(len(images)) % 5
    F.cross_entropy(network.train()(nchw(images)), torch.from_numpy(labels)).backward()
    expected = {key: parameter.grad.numpy() for key, parameter in network.named_parameters()}

    gradients = training_gradients(twin, images, labels)
    assert set(gradients) == set(expected)
    scale = max(np.linalg.norm(gradient) for gradient in expected.values())
    for key, gradient in expected.items():
        # A bias before a BatchNorm has no gradient but rounding: hence the floor.
        allowed = tolerance * (np.linalg.norm(gradient) + 1e-3 * scale)
        assert np.linalg.norm(gradients[key] - gradient) <= allowed, key

    state = {binding.key: binding.to_neutral(binding.variable.numpy()) for binding in bindings.bindings(twin)}
    for key, buffer in network.named_buffers():
        if buffer.is_floating_point():
            np.testing.assert_allclose(
                state[key], buffer.numpy(), rtol=0.1 * tolerance, atol=0.01 * tolerance, err_msg=key
            )


def training_gradients(twin: keras.Model, images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Gradients of the mean cross-entropy in graph mode, by torch name and in torch's layout."""
    parameters = [binding for binding in bindings.bindings(twin) if binding.trainable]

    @tf.function
    def gradients() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, twin(images, training=True))
            loss = tf.reduce_mean(losses)
        return tape.gradient(loss, [binding.variable.value for binding in parameters])

    return {b.key: b.to_neutral(gradient.numpy()) for b, gradient in zip(parameters, gradients(), strict=True)}


def test_layers_are_called_as_the_modules():
    network = torch_model.build("resnet18", 5, seed=0)
    twin = builder.twin(network, 64, name="resnet18")
    names = [layer.name for layer in twin.layers]
    assert {"conv1", "layer1.0.bn1", "layer2.0.downsample.0", "fc", "logits"} <= set(names)
    assert {"layer1.0.relu", "layer1.0.relu_1", "layer1.0.add", "conv1.pad"} <= set(names)
    assert twin.output.dtype == "float32"


def test_building_leaves_the_network_in_its_mode():
    network = torch_model.build("squeezenet1_1", 5, seed=0)
    network.features.eval()
    modes = [module.training for module in network.modules()]
    builder.twin(network, 64, name="twin")
    assert [module.training for module in network.modules()] == modes


class Lambda(nn.Module):
    """A network that is one function."""

    def __init__(self, function: Callable) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


NEGATIVE = Lambda(lambda x: x * -1.0 + -9.0)  # so that padding with zeros would win a maximum

OPERATIONS = {
    "dilated conv": nn.Conv2d(3, 4, 3, padding=2, dilation=2),
    "strided even conv": nn.Conv2d(3, 4, 4, stride=3, padding=1),
    "oblong conv": nn.Conv2d(3, 4, (1, 5), padding=(0, 2)),
    "grouped conv": nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 3, groups=2)),
    "multiplied depthwise conv": nn.Conv2d(3, 9, 3, stride=2, padding=1, groups=3, bias=False),
    "max pool": nn.Sequential(NEGATIVE, nn.MaxPool2d(3, 2, 1)),
    "max pool after relu": nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, 2, 1)),
    "max pool ceil": nn.Sequential(NEGATIVE, nn.MaxPool2d(3, 2, ceil_mode=True)),
    "max pool ceil starts inside": nn.Sequential(NEGATIVE, nn.MaxPool2d(2, 3, 1, ceil_mode=True)),
    "average pool": nn.AvgPool2d(3, 1, 1),
    "adaptive pool": nn.AdaptiveAvgPool2d(4),
    "adaptive pool uneven": nn.AdaptiveAvgPool2d((5, 3)),
    "mean": Lambda(lambda x: x.mean([2, 3])),
    "mean keepdim": Lambda(lambda x: x.mean((-1, -2), keepdim=True)),
    "flatten": nn.Flatten(),
    "unflatten": nn.Sequential(nn.Flatten(2), nn.Unflatten(2, (6, 24))),
    "activations": nn.Sequential(nn.SiLU(), nn.Hardswish(), nn.GELU(), nn.Hardsigmoid(), nn.Tanh(), nn.ReLU6()),
    "gate": Lambda(lambda x: torch.sigmoid(x.mean((2, 3), keepdim=True)) * x + 1.0),
    "channel shuffle": Lambda(lambda x: x.view(x.size(0), 3, 2, 6, 12).transpose(1, 2).flatten(1, 2)),
    "chunk and cat": Lambda(lambda x: torch.cat(x.chunk(3, dim=1)[::-1], dim=1)),
    "cat of different layouts": Lambda(lambda x: torch.cat([x, x.transpose(2, 3)], 1)),
    "channel by channel": Lambda(lambda x: torch.cat([torch.unsqueeze(x[:, i], 1) * i + 0.5 for i in (2, -3, 1)], 1)),
    "one of a permuted axis": Lambda(lambda x: x.permute(0, 3, 1, 2)[:, 1].unsqueeze(-1)),
    "linear over width": nn.Linear(12, 5),
    "layer norm over width": nn.LayerNorm(12),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_torchs(name: str, rng: np.random.Generator):
    assert_twin(nn.Sequential(OPERATIONS[name]).eval(), rng.normal(size=(2, 12, 12, 3)).astype("float32"))


def assert_twin(network: nn.Module, images: np.ndarray) -> None:
    twin = builder.twin(network, images.shape[1], name="twin")
    bindings.load_state(twin, torch_model.state(network))
    with torch.no_grad():
        expected = network(nchw(images)).numpy()
    actual = twin(images, training=False).numpy()
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@st.composite
def shape_programs(draw: st.DrawFn) -> list[tuple[str, list[int]]]:
    """Permutations and reshapes of [batch, 3, 4, 4] that leave the batch alone."""
    program, shape = [], [3, 4, 4]
    for _ in range(draw(st.integers(1, 5))):
        if draw(st.booleans()):
            dims = draw(st.permutations(range(len(shape))))
            shape = [shape[dim] for dim in dims]
            program.append(("permute", [0, *(dim + 1 for dim in dims)]))
        else:
            factors = draw(st.permutations([2, 2, 2, 2, 3, 1]))
            cuts = sorted(draw(st.sets(st.integers(1, 5), max_size=4)))
            shape = [math.prod(factors[a:b]) for a, b in zip([0, *cuts], [*cuts, 6], strict=True)]
            program.append(("reshape", shape))
    return program


@settings(max_examples=40, deadline=None)
@given(shape_programs())
def test_any_permutation_and_reshape_is_torchs(program: list[tuple[str, list[int]]]):
    def run(x: torch.Tensor) -> torch.Tensor:
        for operation, axes in program:
            x = x.permute(axes) if operation == "permute" else x.reshape(x.size(0), *axes)
        return x

    assert_twin(Lambda(run), np.arange(96, dtype="float32").reshape(2, 4, 4, 3))


def test_stochastic_depth_drops_whole_samples_and_layers_draw_apart():
    network = nn.Sequential(StochasticDepth(0.5, "row"), StochasticDepth(0.5, "row"))
    y = builder.twin(network, 4, name="twin")(np.ones((200, 4, 4, 3), "float32"), training=True).numpy()
    assert set(np.unique(y.reshape(200, -1).sum(axis=1))) == {0.0, 4 * 4 * 3 * 4.0}
    assert 0.15 < (y > 0).mean() < 0.35


def test_a_permutation_moves_no_data():
    channels_last = Lambda(lambda x: F.relu(x.permute(0, 2, 3, 1)))
    twin = builder.twin(channels_last, 8, name="twin")
    assert [type(layer).__name__ for layer in twin.layers] == ["InputLayer", "Activation", "Activation"]


def test_an_unsupported_function_names_itself_its_module_and_the_remedy():
    network = nn.Sequential(nn.Identity(), Lambda(lambda x: torch.cumprod(x, 1)))
    with pytest.raises(UnsupportedOperationError) as error:
        builder.twin(network, 8, name="twin")
    assert str(error.value) == (
        "no Keras equivalent for the function cumprod, used by 1 (Lambda); to add it, register a converter with "
        "@converts_function in scenerec.models.keras_twin"
    )


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            nn.Sequential(nn.Bilinear(1, 1, 1)),
            r"the module Bilinear, used by 0 \(Bilinear\); .*@converts_module",
        ),
        (Lambda(lambda x: x.cumsum(1)), "the method cumsum, used by Lambda; .*@converts_method"),
        (
            nn.Sequential(nn.MaxPool2d(2, dilation=2)),
            r"max-pooling with dilation or indices, used by 0 \(MaxPool2d\)$",
        ),
        (nn.Sequential(StochasticDepth(0.5, "batch")), "StochasticDepth in mode 'batch'"),
        (Lambda(lambda x: x.view(-1)), "mixes samples of the batch"),
    ],
)
def test_what_is_unsupported_is_named(network: nn.Module, message: str):
    with pytest.raises(UnsupportedOperationError, match=message):
        builder.twin(network, 8, name="twin")
