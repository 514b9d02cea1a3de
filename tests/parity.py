"""How far a Keras twin is from its torch network: logits, gradients, running statistics, weights there and back.

Gradients in float32 depend on the order of sums: a random ReLU network can make 1 % of rounding. So both frameworks are
held against the network in float64, and the twin may be off by 1e-4, or by three times what torch itself is off. Where
a ReLU's input is zero but for rounding, and its layer has few pixels, one of them may yet go the other way: then all is
measured again with other images. What is wrong is wrong with all images.
"""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

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
ERROR_TOLERANCE = 1e-4
ERROR_FACTOR = 3.0
DRAWS = 3
GRADIENT_FLOOR = 1e-3
"""Share of the largest gradient's norm below which a gradient's error is taken relative to that floor: the gradient of
a bias before a BatchNorm is nothing but rounding."""

Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class Errors:
    """Relative L2 errors against float64, by torch name, of the twin and of torch in float32."""

    twin: dict[str, float]
    torch: dict[str, float]

    @property
    def worst(self) -> str:
        """The name whose error of the twin is the largest share of what it may be ("" where there is none)."""
        return max(self.twin, key=lambda name: self.twin[name] / self.allowed(name), default="")

    def allowed(self, name: str) -> float:
        """The largest error that the twin may have."""
        return max(ERROR_TOLERANCE, ERROR_FACTOR * self.torch[name])

    def failures(self) -> list[str]:
        """One line for each name that is further off."""
        return [
            f"{name}: {error:.1e} from float64, torch {self.torch[name]:.1e}"
            for name, error in self.twin.items()
            if not error <= self.allowed(name)
        ]


@dataclass(frozen=True)
class Parity:
    """What `measure` finds."""

    logits_eager: float
    """Largest difference of the logits over the largest logit."""
    logits_graph: float
    round_trip: bool
    """The weights come back from Keras bit by bit, all of them."""
    gradients: Errors
    statistics: Errors
    """Of the running means and variances after one training step."""
    draws: int
    """How many batches of images it took."""

    def failures(self) -> list[str]:
        """One line for each thing that is not torch's."""
        logits = {"eager": self.logits_eager, "graph": self.logits_graph}
        return [
            *(
                f"{mode} logits differ by {difference:.1e} of their scale"
                for mode, difference in logits.items()
                if not difference <= LOGITS_TOLERANCE
            ),
            *([] if self.round_trip else ["weights change on their way through Keras"]),
            *self.gradients.failures(),
            *self.statistics.failures(),
        ]


def smallest_telling_size(arch: str) -> int:
    """The image size to compare at: small, but with more than one pixel left before the last pooling."""
    entry = zoo.architecture(arch)
    if entry.fixed_image_size:
        return entry.image_size
    return max(128 if arch == "inception_v3" else 64, entry.min_image_size)


def make_pair(arch: str, image_size: int) -> tuple[nn.Module, keras.Model]:
    """A network and its twin with equal weights, in which no weight is trivial, and without dropout.

    What torchvision initialises to a constant (biases, scales) is moved at random, so that an exchange shows, and the
    BatchNorm statistics are those of random images, moved at random.
    """
    network = torch_model.build(arch, CLASSES, seed=1)
    rng = np.random.default_rng(1)
    twin = keras_twin.twin(network, image_size, name=arch)
    _switch_dropout_off(network, twin)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.numel() > 1 and parameter.min() == parameter.max():
                parameter += torch.from_numpy(rng.normal(0.0, 0.1, parameter.shape).astype("float32"))
        _draw_statistics(network, image_size, rng)
    keras_bindings.load_state(twin, torch_model.state(network))
    return network, twin


def measure(arch: str, image_size: int) -> Parity:
    """Compares one forward pass and one training step, on up to `DRAWS` batches until one agrees.

    Frees what it can: at most it holds the weights once in float64, with two sets of gradients in float32.
    """
    for draw in range(1, DRAWS + 1):
        parity = _measure_draw(arch, image_size, draw)
        if not parity.failures():
            break
    return parity


def _measure_draw(arch: str, image_size: int, draw: int) -> Parity:
    network, twin = make_pair(arch, image_size)
    rng = np.random.default_rng([2, draw])
    images, labels = draw_batch(image_size, rng)
    differences = logits_differences(network, twin, images[:LOGITS_BATCH])
    initial = {name: tensor.detach().numpy().copy() for name, tensor in network.named_buffers()}
    round_trip = comes_back(network, twin)

    twins_gradients = training_gradients(twin, images, labels)
    buffers = [binding for binding in keras_bindings.bindings(twin) if not binding.trainable]
    twins_statistics = {binding.key: binding.to_neutral(binding.variable.numpy()) for binding in buffers}
    del twin, buffers
    keras.backend.clear_session()
    gc.collect()

    torchs_gradients: Tensors = {}
    torch_gradients(network, images, labels, torchs_gradients.__setitem__)
    torchs_statistics = _statistics(network)
    network.double()
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            buffer.copy_(torch.from_numpy(initial[name]))
    of_gradients = _Comparison(twins_gradients, torchs_gradients)
    torch_gradients(network, images, labels, of_gradients.add)
    of_statistics = _Comparison(twins_statistics, torchs_statistics)
    for name, statistic in _statistics(network).items():
        of_statistics.add(name, statistic)
    return Parity(*differences, round_trip, of_gradients.errors(GRADIENT_FLOOR), of_statistics.errors(floor=0.0), draw)


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


def training_gradients(twin: keras.Model, images: np.ndarray, labels: np.ndarray, **graph: bool) -> Tensors:
    """Gradients of the mean cross-entropy in graph mode, by torch name and in torch's layout."""
    parameters = [binding for binding in keras_bindings.bindings(twin) if binding.trainable]

    @tf.function(**graph)
    def gradients() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, twin(images, training=True))
            loss = tf.reduce_mean(losses)
        return tape.gradient(loss, [binding.variable.value for binding in parameters])

    return {b.key: b.to_neutral(gradient.numpy()) for b, gradient in zip(parameters, gradients(), strict=True)}


def torch_gradients(
    network: nn.Module, images: np.ndarray, labels: np.ndarray, visit: Callable[[str, np.ndarray], None]
) -> None:
    """The same of the network, in its precision; each gradient is freed after its visit."""
    handles = [
        parameter.register_post_accumulate_grad_hook(partial(_visit_and_free, name, visit))
        for name, parameter in network.named_parameters()
    ]
    dtype = next(network.parameters()).dtype
    F.cross_entropy(network.train()(nchw(images).to(dtype)), torch.from_numpy(labels)).backward()
    for handle in handles:
        handle.remove()


def _visit_and_free(name: str, visit: Callable[[str, np.ndarray], None], parameter: torch.Tensor) -> None:
    visit(name, parameter.grad.numpy())
    parameter.grad = None


class _Comparison:
    """Two sets of float32 tensors against float64, one tensor at a time."""

    def __init__(self, twin: Tensors, single: Tensors) -> None:
        self.found = (twin, single)
        self.norms: dict[str, float] = {}
        self.distances: dict[str, list[float]] = {}

    def add(self, name: str, truth: np.ndarray) -> None:
        self.norms[name] = float(np.linalg.norm(truth))
        self.distances[name] = [float(np.linalg.norm(found[name] - truth)) for found in self.found]

    def errors(self, floor: float) -> Errors:
        """Relative to the norms, of which none counts as less than `floor` times the largest."""
        names = self.norms.keys()
        assert all(names == found.keys() for found in self.found)
        lowest = floor * max(self.norms.values(), default=0.0)
        relative = ({n: self.distances[n][i] / max(self.norms[n], lowest) for n in names} for i in (0, 1))
        return Errors(*relative)


def _statistics(network: nn.Module) -> Tensors:
    return {
        name: buffer.numpy().copy()
        for name, buffer in network.named_buffers()
        if name.rpartition(".")[2] in ("running_mean", "running_var")
    }


def _switch_dropout_off(network: nn.Module, twin: keras.Model) -> None:
    """The frameworks draw different random numbers."""
    for module in network.modules():
        if isinstance(module, nn.Dropout | torchvision.ops.StochasticDepth):
            module.p = 0.0
    for layer in twin.layers:
        if isinstance(layer, keras_layers.Dropout):
            layer.rate = 0.0


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
