"""Blocks that are computed once more for the backward pass: the same to the last bit, in both frameworks."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

import keras  # isort: skip
import tensorflow as tf

from scenerec.errors import ModelError
from scenerec.models import tf_model, torch_dropout, torch_model, torch_recompute
from scenerec.models.blocks import block_paths
from scenerec.models.keras_twin import bindings, builder
from scenerec.models.keras_twin.drop_draws import drop_keys
from scenerec.models.tf_freezing import freeze as tf_freeze
from scenerec.models.tf_recompute import Recomputing
from scenerec.models.torch_freezing import freeze, train_mode
from scenerec.training.torch_compiler import compiled
from tests.matrix import FAMILIES, keep
from tests.parity import smallest_telling_size

KEYS = np.array([7, 8, 2**32 - 1, 1])
SIZE = 16
BLOCKS = ("blocks.0", "blocks.1")
FROZEN = "blocks.0."
SINGLE_LAYERS = ("alexnet", "vgg11", "vgg11_bn")
ARCHS = sorted(FAMILIES - set(SINGLE_LAYERS))
STEPS = 2
"""The second goes by what the first has left."""

Left = dict[str, np.ndarray]
"""Logits, gradients, weights and running statistics after the steps, by name."""


class Block(nn.Module):
    """With BatchNorm, and dropout that is called twice."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)
        self.drop = nn.Dropout(0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.drop(torch.relu(self.norm(self.drop(self.conv(x)))))


class Network(nn.Module):
    """Two blocks."""

    def __init__(self, block: type[Block] = Block) -> None:
        super().__init__()
        self.stem, self.blocks, self.head = nn.Conv2d(3, 8, 3), nn.ModuleList((block(8), block(8))), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x=x)  # by name, as timm gives positions
        return self.head(x.mean(dim=(2, 3)))


class ScaledBlock(Block):
    """With plain operations, whose counterparts in Keras have no path in their names."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.gamma = nn.Parameter(torch.full((channels,), 0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.conv(x)) - x.mean(dim=(2, 3), keepdim=True)
        return x + self.drop(torch.relu(y * self.gamma[:, None, None]) / (1 + torch.exp(-x)))


def drawn_network(block: type[Block] = Block) -> nn.Module:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return Network(block)


def images(size: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(len(KEYS), size, size, 3)).astype(np.float32)


def by_torch(network: nn.Module, paths: tuple[str, ...], size: int = SIZE, traces: bool = False) -> tuple[Left, int]:
    """What is left, and how many numbers were kept for the backward passes; with blocks at `paths` computed twice."""
    freeze(network, [name for name, _ in network.named_parameters() if name.startswith(FROZEN)])
    draws = torch_dropout.draw_by_sample(network)
    torch_recompute.recompute(network, paths)
    train_mode(network)
    answer = compiled(network, fullgraph=True, backend="aot_eager") if traces else network
    kept = 0

    def note(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    for _ in range(STEPS):
        draws.begin(torch.from_numpy(KEYS))
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            logits = answer(torch.from_numpy(images(size).transpose(0, 3, 1, 2)))
        logits.square().sum().backward()
    gradients = {f"gradient of {name}": p.grad for name, p in network.named_parameters() if p.grad is not None}
    tensors = {"logits": logits.detach(), **gradients, **network.state_dict()}
    return {name: tensor.numpy() for name, tensor in tensors.items()}, kept


def by_tensorflow(
    model: keras.Model,
    paths: tuple[str, ...],
    size: int = SIZE,
    keys: np.ndarray | None = KEYS,
    compiles: bool = False,
) -> Left:
    """The same of a twin; without `keys` dropout goes by the state of its layers, as in a pretraining."""
    names = [b.key for b in bindings.bindings(model)]
    tf_freeze(model, [name for name in names if name.startswith(FROZEN)])
    variables = {b.key: b.variable for b in bindings.bindings(model) if b.trainable and not b.key.startswith(FROZEN)}
    network = Recomputing(model, paths) if paths else model

    @tf.function(jit_compile=compiles)
    def step(pixels: tf.Tensor, keys: tf.Tensor | None) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        weights = {name: variable.value for name, variable in variables.items()}
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            with drop_keys(keys):
                logits = network(pixels, training=True)
            loss = tf.reduce_sum(tf.square(logits))
        return logits, tape.gradient(loss, weights)

    pixels = tf.constant(images(size), model.compute_dtype)
    for _ in range(STEPS):
        logits, gradients = step(pixels, None if keys is None else tf.constant(keys))
    state = {variable.path: variable.numpy() for variable in model.variables}
    return {
        "logits": logits.numpy(),
        **{f"gradient of {key}": each.numpy() for key, each in gradients.items()},
        **state,
    }


def small_twin(block: type[Block] = Block) -> keras.Model:
    network = drawn_network(block)
    model = builder.twin(network, SIZE, name="twin")
    tf_model.load_state(model, torch_model.state(network))
    return model


def assert_same(plain: Left, recomputing: Left) -> None:
    assert plain.keys() == recomputing.keys()
    for name, array in plain.items():
        np.testing.assert_array_equal(array, recomputing[name], err_msg=name)


def assert_close(plain: Left, recomputing: Left, tolerance: float) -> None:
    assert plain.keys() == recomputing.keys()
    for name, array in plain.items():
        atol = tolerance * (np.abs(array).max() + 1e-6)
        np.testing.assert_allclose(array, recomputing[name], rtol=0, atol=atol, err_msg=name)


def test_torch_leaves_one_trace() -> None:
    (plain, kept), (recomputing, kept_then) = (by_torch(drawn_network(), paths) for paths in ((), BLOCKS))
    assert_same(plain, recomputing)
    assert kept_then < 0.5 * kept
    assert "gradient of blocks.1.conv.weight" in plain and "gradient of blocks.0.conv.weight" not in plain
    assert plain["blocks.1.norm.num_batches_tracked"] == STEPS and plain["blocks.0.norm.num_batches_tracked"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("keys", [KEYS, None], ids=["by sample", "by state"])
def test_tensorflow_leaves_one_trace(keys: np.ndarray | None) -> None:
    plain, recomputing = (by_tensorflow(small_twin(), paths, keys=keys) for paths in ((), BLOCKS))
    assert_same(plain, recomputing)
    assert "gradient of blocks.1.conv.weight" in plain and "gradient of blocks.0.conv.weight" not in plain
    calls = {int(array[1]) for name, array in plain.items() if name.endswith("random_state")}
    assert calls == ({0} if keys is not None else {STEPS})
    statistics = [array for name, array in plain.items() if name.endswith("blocks.1.norm/moving_mean")]
    assert len(statistics) == 1 and statistics[0].any()


@pytest.mark.slow
def test_plain_operations_are_of_the_block_that_they_stand_in() -> None:
    model = small_twin(ScaledBlock)
    assert any("." not in layer.name for layer in model.layers if layer.name not in ("stem", "head"))
    assert_close(by_tensorflow(small_twin(ScaledBlock), ()), by_tensorflow(model, BLOCKS), 1e-6)


class BackAndForth(Network):
    """Whose first block computes once more after the second."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = self.blocks
        return self.head(first(second(first(self.stem(x)))).mean(dim=(2, 3)))


def test_a_block_that_comes_again_is_refused_in_tensorflow() -> None:
    model = builder.twin(BackAndForth(), SIZE, name="twin")
    with pytest.raises(ModelError, match=r"recompute_activations: blocks\.0 takes what is made after it: leave it out"):
        Recomputing(model, BLOCKS)


@pytest.mark.slow
@pytest.mark.parametrize("paths", [(), BLOCKS], ids=["kept", "recomputed"])
def test_what_is_compiled_leaves_the_same(paths: tuple[str, ...]) -> None:
    """In torch as one graph, as it is traced and differentiated; in TensorFlow by XLA."""
    assert_close(by_torch(drawn_network(), ())[0], by_torch(drawn_network(), paths, traces=True)[0], 1e-5)
    plain = by_tensorflow(small_twin(), ())
    assert_close(plain, by_tensorflow(small_twin(), paths, compiles=True), 1e-4)


def paths_of(arch: str) -> tuple[str, ...]:
    names = [name for name, _ in torch_model.build(arch, 5, seed=0).named_parameters()]
    return block_paths(arch, names)


@pytest.mark.slow
@pytest.mark.parametrize("arch", keep({"mobilenet_v3_small", "swin_t", "densenet121"}, ARCHS))
def test_an_architecture_in_torch(arch: str) -> None:
    size = smallest_telling_size(arch)
    (plain, kept), (recomputing, kept_then) = (
        by_torch(torch_model.build(arch, 5, seed=0), paths, size) for paths in ((), paths_of(arch))
    )
    assert_same(plain, recomputing)
    assert kept_then < 0.75 * kept


@pytest.fixture
def in_float64() -> Iterator[None]:
    """Keras's dtype policy is that of the whole process."""
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.slow
@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("arch", keep({"mobilenet_v3_small"}, ARCHS))
def test_an_architecture_in_tensorflow(arch: str) -> None:
    """But for rounding: TensorFlow simplifies x * (c * y), as in Hardswish, where no gradient needs c * y as well."""
    size = smallest_telling_size(arch)
    plain, recomputing = (
        by_tensorflow(tf_model.build(arch, 5, size, seed=0), paths, size) for paths in ((), paths_of(arch))
    )
    assert_close(plain, recomputing, 1e-6)
