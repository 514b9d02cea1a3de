"""How far a Keras twin is from its torch network: logits, gradients, running statistics, weights there and back.

What both compute is compared in float64, where every gradient has to agree. In float32 it need not, though nothing be
wrong: where the input of a ReLU is zero but for rounding, either framework may take the other side, and in a random
network that moves all earlier gradients by up to a few per cent. So in float32 both are held against float64: the twin
should be off by at most 1e-4, or three times what torch itself is off, and `Parity` counts the parameters that are.
"""

import gc
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

import keras  # isort: skip
import tensorflow as tf

from scenerec.models import keras_bindings, keras_layers, keras_twin, torch_model, zoo

CLASSES = 10
LOGITS_BATCH = 2
LOGITS_TOLERANCE = 2e-5
EXACT_TOLERANCE = 1e-5
"""Of gradients in float64; the logits, and attention's softmax, are float32 even there."""
SINGLE_TOLERANCE = 1e-4
SINGLE_FACTOR = 3.0
SINGLE_LIMIT = 0.5
"""Where a float32 gradient is wrong whatever ReLUs do."""
FLOOR = 1e-3
"""Share of the largest gradient's norm below which errors are relative to that floor: the gradient of a bias before a
BatchNorm is nothing but rounding."""


@dataclass(frozen=True)
class Errors:
    """Relative L2 errors of float32 against float64, by torch name, of the twin and of torch."""

    twin: dict[str, float]
    torch: dict[str, float]

    def allowed(self, name: str) -> float:
        """The largest error of the twin that is mere rounding."""
        return max(SINGLE_TOLERANCE, SINGLE_FACTOR * self.torch[name])

    @property
    def worst(self) -> str:
        """The name whose error is the largest share of what is allowed; "" where there is none."""
        return max(self.twin, key=lambda name: self.twin[name] / self.allowed(name), default="")

    @property
    def beyond(self) -> list[str]:
        """The names whose errors are larger."""
        return [name for name, error in self.twin.items() if not error <= self.allowed(name)]


@dataclass(frozen=True)
class Parity:
    """What `measure` finds."""

    logits_eager: float
    """Largest difference of the logits over the largest logit."""
    logits_graph: float
    round_trip: bool
    """Keras holds all of torch's weights, bit by bit."""
    exact_gradients: dict[str, float]
    """Relative L2 difference of each gradient, both frameworks in float64."""
    gradients: Errors
    statistics: Errors
    """Of the running means and variances after one training step."""

    def failures(self) -> list[str]:
        """One line for each thing that is not torch's."""
        logits = {"eager": self.logits_eager, "graph": self.logits_graph}
        exact = {name: error for name, error in self.exact_gradients.items() if not error <= EXACT_TOLERANCE}
        return [
            *(
                f"{mode} logits differ by {difference:.1e} of their scale"
                for mode, difference in logits.items()
                if not difference <= LOGITS_TOLERANCE
            ),
            *([] if self.round_trip else ["weights change on their way through Keras"]),
            *(f"gradient of {name} off by {error:.1e} in float64" for name, error in exact.items()),
            *(
                f"gradient of {name} off by {error:.1e} in float32"
                for name, error in self.gradients.twin.items()
                if not error <= SINGLE_LIMIT
            ),
            *(
                f"{name} off by {self.statistics.twin[name]:.1e}, torch {self.statistics.torch[name]:.1e}"
                for name in self.statistics.beyond
            ),
        ]


def smallest_telling_size(arch: str) -> int:
    """The image size to compare at: small, but with more than one pixel left before the last pooling."""
    entry = zoo.architecture(arch)
    if entry.fixed_image_size:
        return entry.image_size
    return max(128 if arch == "inception_v3" else 64, entry.min_image_size)


def batch_size(image_size: int) -> int:
    """Images of the training step: fewer where they are large."""
    return 8 if image_size <= 128 else 2


def draw_batch(image_size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """float32 images NHWC and int64 labels."""
    size = batch_size(image_size)
    return rng.normal(size=(size, image_size, image_size, 3)).astype("float32"), np.arange(size) % CLASSES


def nchw(images: np.ndarray) -> torch.Tensor:
    """The images as torch has them."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def make_network(arch: str, image_size: int) -> nn.Module:
    """The network without dropout, and with no trivial weight; the same at each call.

    What torchvision initialises to a constant (biases, scales) is moved at random, so that an exchange shows, and the
    BatchNorm statistics are those of random images, moved at random.
    """
    network = torch_model.build(arch, CLASSES, seed=1)
    switch_dropout_off(network)
    rng = np.random.default_rng(1)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.numel() > 1 and parameter.min() == parameter.max():
                parameter += torch.from_numpy(rng.normal(0.0, 0.1, parameter.shape).astype("float32"))
        _draw_statistics(network, image_size, rng)
    return network


def make_twin(network: nn.Module, image_size: int) -> keras.Model:
    """Its twin, with its weights."""
    twin = keras_twin.twin(network, image_size, name="twin")
    switch_dropout_off(twin)
    keras_bindings.load_state(twin, torch_model.state(network))
    return twin


def switch_dropout_off(model: Any) -> None:
    """Of a torch or a Keras model: the frameworks draw different random numbers."""
    for part in model.modules() if isinstance(model, nn.Module) else model.layers:
        if isinstance(part, nn.Dropout | torchvision.ops.StochasticDepth):
            part.p = 0.0
        elif isinstance(part, keras_layers.Dropout):
            part.rate = 0.0


def measure(arch: str, image_size: int) -> Parity:
    """Compares one forward pass and one training step.

    One model is held at a time, and gradients are kept in files: at most it takes twice the weights in float64.
    """
    images, labels = draw_batch(image_size, np.random.default_rng(2))
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        store = _Store(Path(folder))

        network = make_network(arch, image_size)
        twin = make_twin(network, image_size)
        eager, graph = logits_differences(network, twin, images[:LOGITS_BATCH])
        round_trip = comes_back(network, twin)
        del network
        training_gradients(twin, images, labels, partial(store.put, "twin"))
        for binding in keras_bindings.bindings(twin):
            if binding.key.endswith(STATISTICS):
                store.put("twin", binding.key, binding.to_neutral(binding.variable.numpy()))
        del twin, binding
        _free()

        with _double_precision():
            twin = make_twin(make_network(arch, image_size), image_size)
            training_gradients(twin, images, labels, partial(store.put, "twin64"))
        del twin
        _free()

        training_step(make_network(arch, image_size), images, labels, partial(store.put, "torch"))
        comparison = _Comparison(store)
        training_step(make_network(arch, image_size).double(), images, labels, comparison.add)
    return Parity(
        eager,
        graph,
        round_trip,
        comparison.relative("twin64"),
        Errors(comparison.relative("twin"), comparison.relative("torch")),
        Errors(comparison.relative("twin", STATISTICS), comparison.relative("torch", STATISTICS)),
    )


Visit = Callable[[str, np.ndarray], None]
STATISTICS = ("running_mean", "running_var")


def logits_differences(network: nn.Module, twin: keras.Model, images: np.ndarray, **graph: bool) -> tuple[float, float]:
    """Largest difference over the largest logit, in eager and in graph mode (`graph`: tf.function's options)."""
    with torch.no_grad():
        expected = network.eval()(nchw(images)).numpy()
    calls: tuple[Callable[..., tf.Tensor], ...] = (twin, tf.function(twin, **graph))
    scale = np.abs(expected).max()
    eager, compiled = (np.abs(call(images, training=False).numpy() - expected).max() / scale for call in calls)
    return float(eager), float(compiled)


def comes_back(network: nn.Module, twin: keras.Model) -> bool:
    """Whether Keras holds all of torch's floating-point tensors, bit by bit."""
    expected = {key: tensor for key, tensor in network.state_dict().items() if tensor.is_floating_point()}
    bound = keras_bindings.bindings(twin)
    return {binding.key for binding in bound} == set(expected) and all(
        np.array_equal(binding.to_neutral(binding.variable.numpy()), expected[binding.key].numpy()) for binding in bound
    )


def training_gradients(twin: keras.Model, images: np.ndarray, labels: np.ndarray, visit: Visit) -> None:
    """One training step without an update, in graph mode: visits the gradients of the mean cross-entropy, by torch
    name and in torch's layout."""
    parameters = [binding for binding in keras_bindings.bindings(twin) if binding.trainable]

    @tf.function
    def gradients() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, twin(images, training=True))
            loss = tf.reduce_mean(losses)
        return tape.gradient(loss, [binding.variable.value for binding in parameters])

    for binding, gradient in zip(parameters, gradients(), strict=True):
        visit(binding.key, binding.to_neutral(gradient.numpy()))


def training_step(network: nn.Module, images: np.ndarray, labels: np.ndarray, visit: Visit) -> None:
    """The same in torch, in the network's precision; then visits the running statistics."""
    handles = [
        parameter.register_post_accumulate_grad_hook(partial(_visit_and_free, name, visit))
        for name, parameter in network.named_parameters()
    ]
    dtype = next(network.parameters()).dtype
    F.cross_entropy(network.train()(nchw(images).to(dtype)), torch.from_numpy(labels)).backward()
    for handle in handles:
        handle.remove()
    for name, buffer in network.named_buffers():
        if name.endswith(STATISTICS):
            visit(name, buffer.numpy())


def _visit_and_free(name: str, visit: Visit, parameter: torch.Tensor) -> None:
    visit(name, parameter.grad.numpy())
    parameter.grad = None


class _Store:
    """Sets of named tensors, in files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[str, list[str]] = {}

    def put(self, kind: str, name: str, tensor: np.ndarray) -> None:
        self.names.setdefault(kind, []).append(name)
        np.save(self._path(kind, name), tensor)

    def get(self, kind: str, name: str) -> np.ndarray:
        return np.load(self._path(kind, name))

    def _path(self, kind: str, name: str) -> Path:
        return self.folder / f"{kind}-{name}.npy"


class _Comparison:
    """Stored sets of tensors against torch's in float64, one tensor at a time."""

    def __init__(self, store: _Store) -> None:
        self.store = store
        self.norms: dict[str, float] = {}
        self.distances: dict[str, dict[str, float]] = {kind: {} for kind in store.names}

    def add(self, name: str, truth: np.ndarray) -> None:
        self.norms[name] = float(np.linalg.norm(truth))
        for kind, names in self.store.names.items():
            if name in names:
                self.distances[kind][name] = float(np.linalg.norm(self.store.get(kind, name) - truth))

    def relative(self, kind: str, suffixes: tuple[str, ...] = ()) -> dict[str, float]:
        """Of the gradients, or of the tensors with these suffixes."""
        names = [name for name in self.norms if name.endswith(STATISTICS) == bool(suffixes)]
        lowest = 0.0 if suffixes else FLOOR * max(self.norms[name] for name in names)
        return {name: self.distances[kind][name] / max(self.norms[name], lowest) for name in names}


class _BatchNormalization64(keras_layers.BatchNormalization):
    """In float64, which TensorFlow's fused kernel does not take. It keeps no statistics."""

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        mean, variance = tf.nn.moments(x, (0, 1, 2))
        return tf.nn.batch_normalization(x, mean, variance, self.beta.value, self.gamma.value, self.epsilon)


@contextmanager
def _double_precision() -> Iterator[None]:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        with mock.patch.object(keras_layers, "BatchNormalization", _BatchNormalization64):
            yield
    finally:
        keras.config.set_dtype_policy(policy)


def _free() -> None:
    keras.backend.clear_session()
    gc.collect()


def _draw_statistics(network: nn.Module, image_size: int, rng: np.random.Generator) -> None:
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    network.train()(nchw(draw_batch(image_size, rng)[0]))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        spread = norm.running_var.sqrt().numpy()
        norm.running_mean += torch.from_numpy((rng.normal(0.0, 0.1, spread.shape) * spread).astype("float32"))
        norm.running_var *= torch.from_numpy(rng.uniform(0.5, 1.5, spread.shape).astype("float32"))
