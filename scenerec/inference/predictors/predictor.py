"""What all networks that answer have in common: checkpoints of either framework, bundles, TFLite files."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from scenerec.config.task import ModelTask
from scenerec.data.coordinates import NetworkCoordinates, network_coordinates
from scenerec.errors import ModelError
from scenerec.inference.bundles.info import Preprocessing
from scenerec.models.preprocessing import Interpolation

DEFAULT_THRESHOLD = 0.5
"""Probability from which on a label is given, where no better one is known."""


@dataclass(frozen=True)
class NetworkInfo:
    """What one has to know of a network to ask it."""

    name: str
    """Name for people: the network's address."""
    labels: tuple[str, ...]
    """Class names in order of class index; empty where they are not known."""
    preprocessing: Preprocessing
    """What a photograph goes through before the network sees it."""
    task: ModelTask = "classification"
    """What it answers."""


class Predictor(Protocol):
    """A network that takes prepared images and gives logits; or features, whose task is `embedding`."""

    name: str
    """Name for people: the network's address."""
    labels: tuple[str, ...]
    """Class names in order of class index; empty where the network does not know them."""
    image_size: int
    """Side of the images that the network takes, in pixels."""
    eval_crop_ratio: float
    """Share of the resized image that evaluation crops."""
    interpolation: Interpolation = "bilinear"
    """Filter by which photographs are resized for it."""
    takes_coordinates: bool = False
    """Whether it reads where an image was taken; one that does not passes over coordinates."""
    temperature: float = 1.0
    """What its logits are divided by before they become probabilities (see `softmax`)."""
    abstain_below: float | None = None
    """Confidence below which its first class is no answer; None where it always answers."""
    task: ModelTask = "classification"
    """What it answers: one class of each image, any number of labels, or features, which stand for logits then."""
    label_thresholds: tuple[float, ...] = ()
    """Probability from which on a multi-label model gives each label; empty where that is DEFAULT_THRESHOLD."""

    def logits(self, images: np.ndarray, coordinates: np.ndarray | None = None) -> np.ndarray:
        """Computes the logits of any number of images.

        Args:
            images: uint8 RGB [n, image_size, image_size, 3], n >= 1.
            coordinates: degrees north, degrees east and share of the year, float32 [n, 3], NaN where they are not
                known; None where none are.

        Returns:
            float32 [n, classes]; where the task is `embedding`, float32 [n, features]
        """

    def probabilities(self, images: np.ndarray, coordinates: np.ndarray | None = None) -> np.ndarray:
        """Computes the probabilities of any number of images, float32 [n, classes]; the arguments are `logits`'s."""
        return self.probabilities_of(self.logits(images, coordinates))

    def probabilities_of(self, logits: np.ndarray) -> np.ndarray:
        """The probabilities that its logits mean, float32 [n, classes] both; of a multi-label model they add up to
        anything. Features mean none: [n, 0]."""
        if self.task == "embedding":
            return logits[:, :0]
        return sigmoid(logits) if self.task == "multilabel" else softmax(logits, self.temperature)

    def thresholds(self, classes: int) -> tuple[float, ...]:
        """Probability from which on a multi-label model gives each of its labels."""
        return self.label_thresholds or (DEFAULT_THRESHOLD,) * classes


def check_names_classes(model: Predictor) -> None:
    """Raises ModelError for a model that gives features, and so names nothing."""
    if model.task == "embedding":
        raise ModelError(
            f"{model.name}: gives embeddings, and names no classes: take a model with a head, which a training with "
            "model.weights or a probe makes (kind: probe)"
        )


def abstains(probabilities: np.ndarray, abstain_below: float) -> bool:
    """Whether a model with this threshold gives no answer to one image, by its probabilities, float32 [classes]."""
    return float(probabilities.max()) < abstain_below


def in_batches_of(size: int | None, answer: Callable[..., np.ndarray], *inputs: np.ndarray) -> np.ndarray:
    """Asks a model that may take `size` images at once, no more and no fewer, for any number of images.

    Args:
        size: images that the model takes; None for one that takes any number.
        answer: the model: each input [size, ...] -> [size, classes].
        inputs: [n, ...] each, n >= 1; the last batch is filled up with zeros.

    Returns:
        The answers, [n, classes].
    """
    if size is None:
        return answer(*inputs)
    count = len(inputs[0])
    filled = [np.concatenate([each, np.zeros((-count % size, *each.shape[1:]), each.dtype)]) for each in inputs]
    starts = range(0, len(filled[0]), size)
    return np.concatenate([answer(*(each[at : at + size] for each in filled)) for at in starts])[:count]


def place_inputs(coordinates: np.ndarray | None, count: int) -> NetworkCoordinates:
    """What a network that reads coordinates is given of `count` images; `coordinates` as in `Predictor.logits`."""
    return network_coordinates(np.full((count, 3), np.nan, np.float32) if coordinates is None else coordinates)


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Turns logits, float32 [n, classes], over a temperature, into probabilities of the same shape and type.

    Those of a model that answers are `Predictor.probabilities`, at its own temperature.
    Where the largest logit comes off first, logits that differ by little still do so after the division.
    """
    exponents = np.exp((logits - logits.max(axis=1, keepdims=True)) / np.float32(temperature))
    return (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities 1 / (1 + exp(-logits)) of float logits of any shape, in their type; without an overflow."""
    shares = np.exp(-np.abs(logits))
    return (np.where(logits >= 0, 1, shares) / (1 + shares)).astype(logits.dtype)


def cosine_similarities(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The cosine of the angle between features of each image, float [n, d] both -> float64 [n].

    1 where both are 0, and 0 where one of them is.
    """
    lengths = [np.linalg.norm(rows.astype(np.float64), axis=1) for rows in (expected, found)]
    products, scales = (expected.astype(np.float64) * found).sum(axis=1), lengths[0] * lengths[1]
    both_zero = (lengths[0] == 0) & (lengths[1] == 0)
    return np.where(both_zero, 1.0, products / np.where(scales == 0, 1.0, scales))


def logits_difference(expected: np.ndarray, found: np.ndarray) -> float:
    """Returns the largest difference of logits [n, classes] over their scale, the largest magnitude of those expected.

    Infinite where the shapes differ or where there is something else than numbers.
    """
    if expected.shape != found.shape or not (np.isfinite(expected).all() and np.isfinite(found).all()):
        return float("inf")
    return float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-12))


def agreement(expected: np.ndarray, found: np.ndarray, several_labels: bool) -> float:
    """Returns the share of images to which two models give the same first label, by logits [n, classes] of both.

    Where images have several labels, that one ranks first which is surest of those that are sure: it agrees as well
    where `expected` gives it from a probability of DEFAULT_THRESHOLD on.
    """
    first = found.argmax(1)
    agrees = first == expected.argmax(1)
    if several_labels:
        agrees |= expected[np.arange(len(expected)), first] >= 0
    return float(agrees.mean())
