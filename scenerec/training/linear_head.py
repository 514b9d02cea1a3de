"""A linear classifier upon fixed features: multinomial logistic regression, whose minimum is one. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scenerec.training.lbfgs import minimize

_CURVATURE = 0.25  # of the cross-entropy along a logit, at most
_LEAST_VARIANCE = 1e-12  # over the largest one


@dataclass(frozen=True)
class LinearHead:
    """What a network's last layer does."""

    weight: np.ndarray
    """float64 [classes, features]."""
    bias: np.ndarray
    """float64 [classes]."""

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Features [n, d] -> logits, float64 [n, classes]."""
        return features.astype(np.float64) @ self.weight.T + self.bias


def fit_linear_heads(
    features: np.ndarray, labels: np.ndarray, classes: int, decays: Sequence[float]
) -> list[LinearHead]:
    """A head for each weight decay, of features [n, d] and class indices, int [n].

    It minimises the mean cross-entropy and, beside it, decay / 2 times the squared weights on features that are
    standardised (mean 0, deviation 1); the heads take the features as they are. The minimisation of one decay goes on
    from the next larger one's. It goes along the features' principal axes, each in proportion to how curved the loss
    may be there: else directions in which features hardly differ would take L-BFGS thousands of steps.
    """
    center, scale = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    scale = np.where(scale > 0, scale, 1)
    rows = (features - center) / scale
    variances, axes = np.linalg.eigh(rows.T @ rows / len(rows))
    seen = variances > _LEAST_VARIANCE * variances.max()  # weights along the others are 0
    variances, axes = variances[seen], axes[:, seen]
    known = np.ones((len(rows), len(variances) + 1))
    known[:, :-1] = rows @ axes
    fitted, weights = dict[float, LinearHead](), np.zeros((known.shape[1], classes))
    for decay in sorted(decays, reverse=True):
        steps = np.append((_CURVATURE * variances + decay) ** -0.5, 1.0)[:, None]
        weights = steps * _logistic_regression(known * steps.T, labels, decay * steps**2, weights / steps)
        weight = (axes @ weights[:-1]).T / scale
        fitted[decay] = LinearHead(weight, weights[-1] - weight @ center)
    return [fitted[decay] for decay in decays]


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean cross-entropy of logits [n, classes], n >= 1."""
    logits = logits - logits.max(axis=1, keepdims=True)
    return float((np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]).mean())


def top_share(logits: np.ndarray, labels: np.ndarray, count: int) -> float:
    """Share of the rows of logits [n, classes], n >= 1, whose class is among the first `count`; of equals the lower."""
    ranked = np.argsort(-logits, axis=1, kind="stable")[:, :count]
    return float((ranked == labels[:, None]).any(axis=1).mean())


def hold_back(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which of some images are held back, bool [n]: of each class a share, rounded, and by `seed` alone.

    One at least stays and, where there are two, one at least is held back.
    """
    draws = np.random.PCG64(np.random.SeedSequence(seed)).random_raw(len(labels))
    held = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        (members,) = np.nonzero(labels == label)
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        held[members[np.argsort(draws[members], kind="stable")[:count]]] = True
    return held


def choose_decay(
    features: np.ndarray, labels: np.ndarray, classes: int, decays: Sequence[float], share: float, seed: int
) -> tuple[float, dict[float, float]]:
    """The decay whose head has the least cross-entropy on images that `hold_back` held back, and all by decay.

    By the cross-entropy rather than by what is right: it does not jump where the features differ by rounding. Where no
    class has two images nothing can be held back: then it is the middle one, and the mapping is empty.
    """
    held = hold_back(labels, share, seed)
    if not held.any():
        return sorted(decays)[len(decays) // 2], {}
    heads = fit_linear_heads(features[~held], labels[~held], classes, decays)
    losses = {
        decay: cross_entropy(head.logits(features[held]), labels[held])
        for decay, head in zip(decays, heads, strict=True)
    }
    return min(losses, key=losses.__getitem__), losses


def _logistic_regression(features: np.ndarray, labels: np.ndarray, decays: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Weights [d, classes] of features [n, d] that minimise mean cross-entropy + decays / 2 x their squares.

    The `decays` are [d, 1]; that of the last feature, which is 1 for all, does not count.
    """
    n, rows = len(features), np.arange(len(features))
    decays = decays.copy()
    decays[-1] = 0

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logits = features @ weights
        logits -= logits.max(axis=1, keepdims=True)
        own = logits[rows, labels]
        shares = np.exp(logits, out=logits)
        sums = shares.sum(axis=1, keepdims=True)
        shares /= sums
        shares[rows, labels] -= 1
        gradient = features.T @ shares / n + decays * weights
        return float((np.log(sums[:, 0]) - own).mean() + (decays * weights**2).sum() / 2), gradient

    return minimize(loss, start, iterations=2000, tolerance=3e-6)
