"""What all things that predict have in common: checkpoints of either framework, bundles, TFLite files."""

from typing import Protocol

import numpy as np


class Predictor(Protocol):
    """Prepared images in, logits out."""

    name: str
    """What it is, for people: its address."""
    labels: tuple[str, ...]
    """Class names in order of class index; empty where it does not know them."""
    image_size: int
    """Side of the images that it takes, in pixels."""
    eval_crop_ratio: float
    """How much of the resized image evaluation crops."""

    def logits(self, images: np.ndarray) -> np.ndarray:
        """uint8 RGB [n, image_size, image_size, 3] -> float32 [n, classes]; any n >= 1."""


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, float32 [n, classes]."""
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32)


def logits_difference(expected: np.ndarray, found: np.ndarray) -> float:
    """Largest difference of logits [n, classes] over their scale, the largest magnitude of those expected.

    Infinite where the shapes differ or where there is something else than numbers.
    """
    if expected.shape != found.shape or not (np.isfinite(expected).all() and np.isfinite(found).all()):
        return float("inf")
    return float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-12))
