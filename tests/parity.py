"""How far a Keras twin is from its torch network: logits, gradients, running statistics, weights there and back.

That both are the same function is shown in float64. In float32 they differ by rounding, which a deep random network
amplifies; so there torch's own distance to its float64 is the yardstick. Gradients are further apart where the input of
a ReLU is zero but for rounding, and either framework may take the other side: that moves all earlier gradients of a
random network by up to a few per cent. `Errors.beyond` names those; they fail only beyond all measure.
"""

import gc
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

import keras  # isort: skip
import tensorflow as tf

from scenerec.models import torch_dropout, torch_model, zoo
from scenerec.models.keras_twin import bindings, builder, layers
from tests.stored_tensors import STATISTICS, Comparison, StoredTensors

CLASSES = 10
LOGITS_BATCH = 2
EXACT_TOLERANCE = 1e-6
"""In float64; TensorFlow's GELU divides by a square root of 2 in float32 even there."""
LOGITS_TOLERANCE = 2e-5
ERROR_TOLERANCE = 1e-4
TELLING_STD = 1e-3
"""Standard deviation of the head's weights below which logits say nothing of the image."""
ROUNDING_FACTOR = 3.0
"""In float32 the twin may also be off by this many times what torch is off."""
GRADIENT_LIMIT = 0.5
"""Beyond it a float32 gradient is wrong whatever ReLUs do."""


@dataclass(frozen=True)
class Errors:
    """Relative L2 errors of float32 against float64, by torch name, of the twin and of torch."""

    twin: dict[str, float]
    torch: dict[str, float]

    def allowed(self, name: str) -> float:
        """The largest error of the twin that is mere rounding."""
        return max(ERROR_TOLERANCE, ROUNDING_FACTOR * self.torch[name])

    @property
    def worst(self) -> str:
        """The name whose error is the largest share of what is allowed; "" where there is none."""
        return max(self.twin, key=lambda name: self.twin[name] / self.allowed(name), default="")

    @property
    def beyond(self) -> list[str]:
        """The names whose errors are larger."""
        return [name for name, error in self.twin.items() if not error <= self.allowed(name)]


@dataclass(frozen=True)
class Logits:
    """Largest differences of the logits over the largest logit."""

    eager: float
    """Between the frameworks in float32."""
    graph: float
    rounding: float
    """Of torch's float32 against its float64."""
    exact: float
    """Between the frameworks in float64."""

    @property
    def allowed(self) -> float:
        """In float32."""
        return max(LOGITS_TOLERANCE, ROUNDING_FACTOR * self.rounding)


@dataclass(frozen=True)
class Parity:
    """What `measure` finds."""

    logits: Logits
    round_trip: bool
    """Keras holds all of torch's weights, bit by bit."""
    exact_gradients: dict[str, float]
    """Relative L2 difference of each gradient, both frameworks in float64."""
    gradients: Errors
    statistics: Errors
    """Of the running means and variances after one training step."""

    def failures(self) -> list[str]:
        """One line for each thing that is not torch's."""
        logits, statistics = self.logits, self.statistics
        checks = [
            ("eager logits in float32", logits.eager, logits.allowed),
            ("graph logits in float32", logits.graph, logits.allowed),
            ("logits in float64", logits.exact, EXACT_TOLERANCE),
            *((f"gradient of {n} in float64", error, EXACT_TOLERANCE) for n, error in self.exact_gradients.items()),
            *((f"gradient of {n} in float32", error, GRADIENT_LIMIT) for n, error in self.gradients.twin.items()),
            *((f"{n} in float32", error, statistics.allowed(n)) for n, error in statistics.twin.items()),
        ]
        found = [f"{what} is off by {error:.1e}" for what, error, allowed in checks if not error <= allowed]
        return found if self.round_trip else ["weights change on their way through Keras", *found]


def smallest_telling_size(arch: str) -> int:
    """The image size to compare at: small, but with more than one pixel left before the last pooling."""
    entry = zoo.architecture(arch)
    if entry.fixed_image_size:
        return entry.image_size
    size = max(128 if arch == "inception_v3" else 64, entry.min_image_size)
    return size // entry.image_size_step * entry.image_size_step


def batch_size(image_size: int) -> int:
    """Images of the training step: fewer where they are large."""
    return 8 if image_size <= 128 else 2


def draw_batch(image_size: int) -> tuple[np.ndarray, np.ndarray]:
    """The images, float32 NHWC, and labels, int64, of all comparisons."""
    rng, size = np.random.default_rng(2), batch_size(image_size)
    return rng.normal(size=(size, image_size, image_size, 3)).astype("float32"), np.arange(size) % CLASSES


def nchw(images: np.ndarray) -> torch.Tensor:
    """The images as torch has them."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def make_network(arch: str, image_size: int) -> nn.Module:
    """The network without dropout, and with no trivial weight; the same at each call.

    What torchvision initialises to a constant (biases, scales) is moved at random, so that an exchange shows.
    """
    network = torch_model.build(arch, CLASSES, seed=1)
    switch_dropout_off(network)
    rng = np.random.default_rng(1)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.numel() > 1 and parameter.min() == parameter.max():
                parameter += torch.from_numpy(rng.normal(0.0, 0.1, parameter.shape).astype("float32"))
        head = network.get_submodule(zoo.architecture(arch).head).weight
        if head.std() < TELLING_STD:  # EVA's, so that the logits are their biases
            head += torch.from_numpy(rng.normal(0.0, 0.05, head.shape).astype("float32"))
        _draw_statistics(network, draw_batch(image_size)[0], rng)
    return network


def make_twin(network: nn.Module, image_size: int) -> keras.Model:
    """Its twin, with its weights."""
    twin = builder.twin(network, image_size, name="twin")
    switch_dropout_off(twin)
    bindings.load_state(twin, torch_model.state(network))
    return twin


def switch_dropout_off(model: Any) -> None:
    """Of a torch or a Keras model: the frameworks draw different random numbers."""
    for part in model.modules() if isinstance(model, nn.Module) else model.layers:
        if isinstance(part, nn.Dropout | torchvision.ops.StochasticDepth | torch_dropout.Dropout):
            part.p = 0.0
        elif isinstance(part, timm.layers.DropPath):
            part.drop_prob = 0.0
        elif isinstance(part, layers.Dropout):
            part.rate = 0.0


def directly(stage: Callable[..., Any], *arguments: Any) -> Any:
    """What the stage returns."""
    return stage(*arguments)


def in_a_fork(stage: Callable[..., Any], *arguments: Any) -> Any:
    """The same from a process of its own, begun before TensorFlow has computed here: it keeps memory that it freed,
    several times the weights."""
    with ProcessPoolExecutor(1, get_context("fork")) as pool:
        return pool.submit(stage, *arguments).result()


def measure(arch: str, image_size: int, call: Callable[..., Any] = directly) -> Parity:
    """Compares one forward pass and one training step.

    One model is held at a time, and gradients are kept in files. `call` calls each of the three stages: `in_a_fork` is
    for networks of which not all three fit into the memory.
    """
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        store = StoredTensors(Path(folder))
        twin: _TwinLogits = call(_measure_twin, arch, image_size, store)
        double: np.ndarray = call(_measure_double_twin, arch, image_size, store)
        truth, comparison = call(_measure_torch, arch, image_size, store)
    return Parity(
        logits=Logits(
            eager=difference(twin.eager, twin.torch),
            graph=difference(twin.graph, twin.torch),
            rounding=difference(twin.torch, truth),
            exact=difference(double, truth),
        ),
        round_trip=twin.round_trip,
        exact_gradients=comparison.relative("twin64"),
        gradients=Errors(comparison.relative("twin"), comparison.relative("torch")),
        statistics=Errors(comparison.relative("twin", STATISTICS), comparison.relative("torch", STATISTICS)),
    )


@dataclass(frozen=True)
class _TwinLogits:
    """Of the first stage, in float32."""

    eager: np.ndarray
    graph: np.ndarray
    torch: np.ndarray
    round_trip: bool


def _measure_twin(arch: str, image_size: int, store: StoredTensors) -> _TwinLogits:
    """The twin in float32; its gradients and statistics go into the store."""
    images, labels = draw_batch(image_size)
    few = images[:LOGITS_BATCH]
    network = make_network(arch, image_size)
    twin = make_twin(network, image_size)
    logits = _TwinLogits(
        eager=twin(few, training=False).numpy(),
        graph=twin_logits(twin, few),
        torch=torch_logits(network, few),
        round_trip=comes_back(network, twin),
    )
    del network
    training_gradients(twin, images, labels, partial(store.put, "twin"))
    for binding in bindings.bindings(twin):
        if binding.key.endswith(STATISTICS):
            store.put("twin", binding.key, binding.to_neutral(binding.variable.numpy()))
    del twin, binding
    _free()
    return logits


def _measure_double_twin(arch: str, image_size: int, store: StoredTensors) -> np.ndarray:
    """The twin in float64: its logits."""
    images, labels = draw_batch(image_size)
    with _double_precision():
        twin = make_twin(make_network(arch, image_size), image_size)
        twin = keras.Model(twin.input, twin.get_layer("logits").input)  # without the cast to float32
        logits = twin_logits(twin, images[:LOGITS_BATCH])
        training_gradients(twin, images, labels, partial(store.put, "twin64"))
    del twin
    _free()
    return logits


def _measure_torch(arch: str, image_size: int, store: StoredTensors) -> tuple[np.ndarray, Comparison]:
    """torch in both precisions: its logits in float64, and what is stored against its gradients and statistics."""
    images, labels = draw_batch(image_size)
    training_step(make_network(arch, image_size), images, labels, partial(store.put, "torch"))
    network = make_network(arch, image_size).double()
    comparison = Comparison(store)
    with _without_casts_to_float32():
        truth = torch_logits(network, images[:LOGITS_BATCH])
        training_step(network, images, labels, comparison.add)
    return truth, comparison


def export_differences(arch: str, image_size: int) -> dict[str, float]:
    """How far the ONNX graphs of torch's exporter and of tf2onnx are from torch's logits, over their scale."""
    import onnx  # these take seconds, and no other comparison needs them
    import onnxruntime

    from scenerec.export.conversion import tf_hollow, torch_onnx

    network = make_network(arch, image_size).eval()
    images = draw_batch(image_size)[0][:LOGITS_BATCH]
    expected = torch_logits(network, images)
    twin = make_twin(network, image_size)
    layer_names = frozenset(layer.name for layer in twin.layers)
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        files = {name: Path(folder) / f"{name}.onnx" for name in ("torch", "tensorflow")}
        onnx.save(torch_onnx.convert(network, image_size), files["torch"])
        evaluate = partial(twin, training=False)
        tf_hollow.convert(evaluate, image_size, layer_names, 18, files["tensorflow"], False)
        found = {}
        for name, file in files.items():
            session = onnxruntime.InferenceSession(file)
            (logits,) = session.run(["logits"], {session.get_inputs()[0].name: nchw(images).numpy()})
            found[name] = difference(logits, expected)
    return found


Visit = Callable[[str, np.ndarray], None]


def torch_logits(network: nn.Module, images: np.ndarray) -> np.ndarray:
    """In evaluation mode, in the network's precision."""
    with torch.no_grad():
        return network.eval()(nchw(images).to(next(network.parameters()).dtype)).numpy()


def twin_logits(twin: keras.Model, images: np.ndarray, **graph: bool) -> np.ndarray:
    """In evaluation mode, in graph mode; `graph`: tf.function's options."""
    return tf.function(twin, autograph=False, **graph)(images, training=False).numpy()


def double_twin_logits(arch: str, image_size: int, images: np.ndarray) -> np.ndarray:
    """In evaluation mode, in graph mode, in float64."""
    with _double_precision():
        twin = make_twin(make_network(arch, image_size), image_size)
        return twin_logits(keras.Model(twin.input, twin.get_layer("logits").input), images)


def difference(actual: np.ndarray, expected: np.ndarray) -> float:
    """The largest, over the largest expected number."""
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def comes_back(network: nn.Module, twin: keras.Model) -> bool:
    """Whether Keras holds all of torch's floating-point tensors, bit by bit."""
    expected = {key: tensor for key, tensor in network.state_dict().items() if tensor.is_floating_point()}
    bound = bindings.bindings(twin)
    return {binding.key for binding in bound} == set(expected) and all(
        np.array_equal(binding.to_neutral(binding.variable.numpy()), expected[binding.key].numpy()) for binding in bound
    )


def training_gradients(twin: keras.Model, images: np.ndarray, labels: np.ndarray, visit: Visit) -> None:
    """One training step without an update, in graph mode: visits the gradients of the mean cross-entropy, by torch
    name and in torch's layout."""
    parameters = [binding for binding in bindings.bindings(twin) if binding.trainable]

    @tf.function(autograph=False)
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


@contextmanager
def _double_precision() -> Iterator[None]:
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


@contextmanager
def _without_casts_to_float32() -> Iterator[None]:
    """A network's own `float()`, which saves 16 bits from overflow, leaves float64 as it is: so does a twin."""
    cast = torch.Tensor.float

    def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
        return tensor if tensor.dtype == torch.float64 else cast(tensor)

    with patch.object(torch.Tensor, "float", at_least_float32):
        yield


def _free() -> None:
    keras.backend.clear_session()
    gc.collect()


def _draw_statistics(network: nn.Module, images: np.ndarray, rng: np.random.Generator) -> None:
    """Sets each layer's statistics by the size of its input for `images`, which the layers before it now let through.

    With statistics that do not suit, the logits of many a deep network do not depend on the image at all, or only on
    rounding.
    """

    def draw(norm: _BatchNorm, inputs: tuple[torch.Tensor]) -> None:
        spread = inputs[0].transpose(0, 1).flatten(1).square().mean(dim=1).sqrt()
        spread += 0.1 * spread.mean()  # no channel is dead
        norm.running_mean.copy_(spread * torch.from_numpy(rng.normal(0.0, 0.1, spread.shape)))
        norm.running_var.copy_(spread.square() * torch.from_numpy(rng.uniform(2.0, 6.0, spread.shape)))

    handles = [module.register_forward_pre_hook(draw) for module in network.modules() if isinstance(module, _BatchNorm)]
    network.eval()(nchw(images))
    for handle in handles:
        handle.remove()
