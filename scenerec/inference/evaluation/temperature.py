"""Temperature scaling: one number that all logits are divided by, so that probabilities say how often a model is right.

Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks (ICML 2017), section 4.2. Every logit of an image
is divided by the same number, so that no temperature changes the order of its classes.
"""

import numpy as np

from scenerec.inference.evaluation.crops import log_softmax

LOWEST, HIGHEST = 0.1, 10.0
"""Temperatures that are fitted: a model that is never wrong on its images would want 0, which no image bears out."""

_ROUNDS = 100
_PRECISION = 1e-7  # of a temperature, over it
_BLOCK = 4096  # images that are computed at once


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Returns the temperature of the smallest negative log-likelihood, between LOWEST and HIGHEST.

    The likelihood is convex in 1 / temperature: Newton's method finds its one minimum, halving the interval where a
    step would leave it. The loss at the temperature is never above that at 1.

    Args:
        logits: of the images that it is fitted on, float32 [n, classes], n >= 1.
        labels: class indices of the images, int64 [n].
    """
    low, high, inverse = 1 / HIGHEST, 1 / LOWEST, 1.0
    for _ in range(_ROUNDS):
        slope, curvature = _derivatives(logits, labels, inverse)
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        step = inverse - slope / curvature if curvature > 0 else high
        following = step if low < step < high else (low + high) / 2
        if abs(following - inverse) <= _PRECISION * inverse:
            break
        inverse = following
    fitted = 1 / inverse
    return fitted if mean_loss(logits, labels, fitted) < mean_loss(logits, labels, 1.0) else 1.0


def mean_loss(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """Returns the mean negative log-likelihood, in nats, of labels, int64 [n], by float32 logits [n, classes]."""
    of_labels = [
        log_softmax(logits[block], temperature)[np.arange(len(labels[block])), labels[block]]
        for block in _blocks(len(labels))
    ]
    return -float(np.concatenate(of_labels).mean())


def _derivatives(logits: np.ndarray, labels: np.ndarray, inverse: float) -> tuple[float, float]:
    """The first and the second derivative of the mean loss by 1 / temperature.

    The mean, over the images, of (the expected logit - the label's), and of the variance of the logit.
    """
    slope = curvature = 0.0
    for block in _blocks(len(labels)):
        shifted = logits[block].astype(np.float64)
        shifted -= shifted.max(axis=1, keepdims=True)
        shares = np.exp(shifted * inverse)
        shares /= shares.sum(axis=1, keepdims=True)
        expected = (shares * shifted).sum(axis=1)
        slope += float((expected - shifted[np.arange(len(shifted)), labels[block]]).sum())
        curvature += float(((shares * shifted**2).sum(axis=1) - expected**2).sum())
    return slope / len(labels), curvature / len(labels)


def _blocks(count: int) -> list[slice]:
    return [slice(first, first + _BLOCK) for first in range(0, count, _BLOCK)]
