"""What a twin makes of torch's operations: results, and gradients of weights and input, in float32 and in float64.

Numbers in the code, such as a slope, are of float32 in TensorFlow even where it computes in float64.
"""

import copy
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from timm.layers import BlurPool2d, EcaModule, RmsNorm2d, ScaledStdConv2d, StdConv2d
from timm.models.edgenext import PositionalEncodingFourier
from timm.models.metaformer import GroupNorm1NoBias
from torch import nn
from torch.nn import functional as F

from scenerec.models import torch_model
from scenerec.models.keras_twin import bindings, builder
from scenerec.models.keras_twin.context import UnsupportedOperationError


class Lambda(nn.Module):
    """A network that is one function."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


class WithTable(nn.Module):
    """A network with a parameter of its own."""

    def __init__(self, shape: tuple[int, ...], function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.ones(shape))
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x, self.table)


class WithPositions(nn.Module):
    """A network that adds EdgeNeXt's encoding of positions."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = PositionalEncodingFourier(hidden_dim=2, dim=3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, _, height, width = x.shape
        return x * self.positions((batch, height, width))


AROUND_ZERO = Lambda(lambda x: 4 * x)

OPERATIONS: dict[str, nn.Module] = {
    "group norm": nn.Sequential(nn.Conv2d(3, 6, 1), nn.GroupNorm(3, 6)),
    "group norm of all": nn.GroupNorm(1, 3, affine=False),
    "group norm without an offset": GroupNorm1NoBias(3),
    "rms norm": Lambda(lambda x: F.rms_norm(x, (6,), eps=0.01)),
    "rms norm of channels": RmsNorm2d(3),
    "batch norm of vectors": nn.Sequential(nn.Flatten(), nn.BatchNorm1d(108)),
    "batch norm of tokens": nn.Sequential(nn.Flatten(2), nn.BatchNorm1d(3)),
    "batch norm of sequences": nn.Sequential(nn.Flatten(1, 2), nn.BatchNorm1d(18)),
    "standardised weights": nn.Sequential(StdConv2d(3, 4, 3, stride=2), ScaledStdConv2d(4, 4, 3, groups=2)),
    "strided dilated conv": nn.Conv2d(3, 4, 2, stride=2, dilation=2, padding=1),
    "blurred": BlurPool2d(3),
    "convolved channels": EcaModule(3, kernel_size=3),
    "average without padding": nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "average of a cut window": nn.AvgPool2d(4, 4, ceil_mode=True),
    "average of a cut window with padding": nn.AvgPool2d(5, 3, 2, ceil_mode=True),
    "largest pixel": nn.AdaptiveMaxPool2d(1),
    "larger image": nn.Upsample(scale_factor=2, mode="nearest"),
    "shuffled pixels": nn.Sequential(nn.Conv2d(3, 8, 1), nn.PixelShuffle(2)),
    "padding": nn.ZeroPad2d((1, 2, 0, 3)),
    "leaky relu": nn.Sequential(AROUND_ZERO, nn.LeakyReLU(0.1)),
    "elu": nn.Sequential(AROUND_ZERO, nn.ELU(0.5)),
    "softplus": Lambda(lambda x: F.softplus(4 * x)),
    "logarithm of a distance": Lambda(lambda x: torch.log(torch.abs(x) + 0.1)),
    "variance": Lambda(lambda x: torch.var(x, dim=(2, 3), keepdim=True)),
    "biased variance": Lambda(lambda x: x.var(1, unbiased=False)),
    "sum of products": WithTable((6, 5, 6), lambda x, table: torch.einsum("bchw,wkh->bck", x, table)),
    "sum of products of two": Lambda(lambda x: torch.einsum("bchw,bcvw->bhv", x, x)),
    "rows of a table": WithTable((5, 6), lambda x, table: x * table[torch.tensor([4, 0, 4, 1, 2, 3])]),
    "windows": nn.Unfold(3, dilation=1, padding=1, stride=2),
    "windows of an axis": Lambda(lambda x: x.unfold(2, 3, 2).unfold(3, 2, 2)),
    "sum of windows": Lambda(lambda x: F.fold(F.unfold(x, 3, padding=1, stride=2), 6, 3, padding=1, stride=2)),
    "positions": WithPositions(),
    "as another": Lambda(lambda x: x.flatten(2).reshape_as(x)),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-5), ("float64", 1e-7)])
def test_an_operation_is_torchs_and_so_are_its_gradients(
    name: str, dtype: str, tolerance: float, set_policy: Callable[[str], None]
) -> None:
    rng = np.random.default_rng(0)
    network = nn.Sequential(copy.deepcopy(OPERATIONS[name])).eval()
    with torch.no_grad():
        for tensor in (*network.parameters(), *(each for each in network.buffers() if each.is_floating_point())):
            tensor.copy_(torch.from_numpy(rng.uniform(0.5, 1.5, tensor.shape)))
    set_policy(dtype)
    twin = builder.twin(network.float(), 6, name="twin")
    bindings.load_state(twin, torch_model.state(network))
    network.to(getattr(torch, dtype))
    images = rng.normal(size=(2, 6, 6, 3)).astype(dtype)

    x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).requires_grad_()
    expected = network(x)
    weights = rng.normal(size=expected.shape).astype(dtype)
    (expected * torch.from_numpy(weights)).sum().backward()
    actual, gradients = results_of(twin, tf.constant(images), weights)

    close = {"rtol": tolerance, "atol": tolerance}
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected.detach(), **close)
    np.testing.assert_allclose(gradients.pop("").transpose(0, 3, 1, 2), x.grad, **close)
    assert set(gradients) == {key for key, _ in network.named_parameters()}
    for key, parameter in network.named_parameters():
        np.testing.assert_allclose(gradients[key], parameter.grad, err_msg=key, **close)


def results_of(twin: keras.Model, images: tf.Tensor, weights: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """What the twin gives, and the gradients of its weighted sum by torch's names, of the images by no name."""
    twin = keras.Model(twin.input, twin.get_layer("logits").input)
    trained = [binding for binding in bindings.bindings(twin) if binding.trainable]
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = twin(images, training=False)
        total = tf.reduce_sum(logits * weights)
    of_images, *others = tape.gradient(total, [images, *(binding.variable.value for binding in trained)])
    found = {binding.key: binding.to_neutral(each.numpy()) for binding, each in zip(trained, others, strict=True)}
    return logits.numpy(), {"": of_images.numpy(), **found}


def test_batch_norm_of_vectors_learns_its_statistics_as_torch_does() -> None:
    network = nn.Sequential(nn.Flatten(2), nn.BatchNorm1d(3, momentum=0.3))
    twin = builder.twin(network, 4, name="twin")
    bindings.load_state(twin, torch_model.state(network))
    images = np.random.default_rng(0).normal(1.0, 2.0, size=(2, 4, 4, 3)).astype("float32")
    network.train()(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    twin(images, training=True)
    for key, expected in torch_model.state(network).items():
        np.testing.assert_allclose(bindings.state(twin)[key], expected, rtol=1e-5, err_msg=key)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: torch.einsum("bchw,dcvx->bd", x, x), "einsum .*, whose result does not begin with the batch"),
        (lambda x: torch.einsum("...h,...h->...", x, x), "einsum .*, which does not name the axes"),
        (lambda x: F.adaptive_max_pool2d(x, 2), "adaptive max-pooling to 2"),
        (lambda x: x.unfold(0, 1, 1), "windows of the batch"),
        (lambda x: F.group_norm(x, 1), "group_norm outside of a GroupNorm"),
    ],
)
def test_what_is_unsupported_of_an_operation_is_named(function: Callable, message: str) -> None:
    with pytest.raises(UnsupportedOperationError, match=message):
        builder.twin(Lambda(function), 6, name="twin")


def test_a_twin_is_made_of_a_network_that_keeps_something_for_evaluation() -> None:
    """As timm's LeViT, TinyViT and EfficientViT keep their biases."""

    class Keeping(WithTable):
        kept: torch.Tensor | None = None

        def train(self, mode: bool = True) -> "Keeping":
            self.kept = None if mode else self.kept
            return super().train(mode)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.kept is None:
                self.kept = self.table * 2
            return x + self.kept

    network = Keeping((3, 1, 1), torch.add).eval()
    network(torch.zeros(1, 3, 4, 4))
    for _ in range(2):
        twin = builder.twin(network, 4, name="twin")
        assert [binding.key for binding in bindings.bindings(twin)] == ["table"]
    assert not network.training
    assert network(torch.zeros(1, 3, 4, 4)).shape == (1, 3, 4, 4)
