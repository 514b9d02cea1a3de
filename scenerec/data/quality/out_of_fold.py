"""Probabilities of classes by features, each picture's from a classifier that has not learned from it. Pure.

The classifier is the linear discriminant with one covariance for all classes (Fisher 1936; Hastie, Tibshirani, Friedman
2009, section 4.3), shrunk towards a multiple of the identity, in a space of random Fourier features (Rahimi and Recht,
NIPS 2007), where classes need not be one heap each. It is had in closed form from sums over the pictures, so that
leaving some of them out costs a subtraction, and a few wrong labels hardly move it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

FOLDS = 10
"""So many classifiers there are: each learns from nine tenths of the pictures."""

_SHRINKAGES = (0.03, 0.1, 0.3, 0.6)
_TEMPERATURES = np.geomspace(0.25, 64, 49)
_ROWS_AT_ONCE = 8192
_WAVES = 600
_COMPARED = 500  # rows, by which the kernel's width is chosen
_TRIED_ROWS = 20_000  # by which scales, shrinkage and temperature are chosen

_Lifted = Callable[[np.ndarray], np.ndarray]


class _Sums(NamedTuple):
    """What a discriminant is made of: sums over some rows."""

    counts: np.ndarray
    """Rows of each class, float64 [classes]."""
    firsts: np.ndarray
    """Sum of each class's features, float64 [classes, d]."""
    seconds: np.ndarray
    """Sum of the features' products, float64 [d, d]."""


def out_of_fold_probabilities(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Probabilities, float32 [n, classes], by features, float [n, d], and class indices, int [n].

    Each row's are those of a discriminant that has learned from the rows of all other folds. Every class up to the
    highest index has two rows or more. Shrinkage and temperature (Guo et al., On calibration of modern neural networks,
    ICML 2017) are those by which the labels are most probable.
    """
    classes = int(labels.max()) + 1
    lifted = _lifting(features)
    folds = fold_of(labels)
    held_out = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]
    own = [_sums(lifted, labels, rows, classes) for rows in held_out]
    every = _Sums(*(np.sum(parts, axis=0) for parts in zip(*own, strict=True)))
    learned = [_Sums(*(total - left_out for total, left_out in zip(every, each, strict=True))) for each in own]
    shrinkage, temperature = _most_probable(lifted, labels, held_out, learned)
    probabilities = np.zeros((len(labels), classes), np.float32)
    for rows, sums in zip(held_out, learned, strict=True):
        discriminant = _discriminant(sums, shrinkage)
        for some in _parts(rows):
            probabilities[some] = np.exp(_log_softmax(discriminant(lifted(some)) / temperature))
    return probabilities


def fold_of(labels: np.ndarray, folds: int = FOLDS) -> np.ndarray:
    """In which fold each row is held out, int64 [n]: of each class as many in each, drawn with a fixed seed."""
    draws = np.random.default_rng(0)
    found = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        members = draws.permutation(np.flatnonzero(labels == label))
        found[members] = np.arange(len(members)) % folds
    return found


def _lifting(features: np.ndarray) -> _Lifted:
    """What makes some rows' random Fourier features, float32 [rows, 600], of standardised ones.

    Their products are about the Gaussian kernel of the rows' distances, as wide as the median distance.
    """
    draws = np.random.default_rng(0)
    drawn = draws.permutation(len(features))[:_TRIED_ROWS]
    some = features[drawn].astype(np.float64)
    center, scale = some.mean(axis=0), some.std(axis=0)
    scale = np.where(scale > 0, scale, 1)
    some = (some[:_COMPARED] - center) / scale
    squares = (some**2).sum(axis=1)
    distances = squares[:, None] + squares - 2 * some @ some.T
    width = np.sqrt(np.median(distances[~np.eye(len(some), dtype=bool)]) / 2)
    waves = (draws.normal(size=(features.shape[1], _WAVES)) / max(width, 1e-6)).astype(np.float32)
    phases = draws.uniform(0, 2 * np.pi, _WAVES).astype(np.float32)

    def lifted(rows: np.ndarray) -> np.ndarray:
        part = ((features[rows] - center) / scale).astype(np.float32)
        return np.sqrt(2 / _WAVES, dtype=np.float32) * np.cos(part @ waves + phases)

    return lifted


def _sums(lifted: _Lifted, labels: np.ndarray, rows: np.ndarray, classes: int) -> _Sums:
    width = lifted(rows[:1]).shape[1]
    sums = _Sums(np.zeros(classes), np.zeros((classes, width)), np.zeros((width, width)))
    for some in _parts(rows):
        part, own = lifted(some), labels[some]
        order = np.argsort(own, kind="stable")
        present, begins, counts = np.unique(own[order], return_index=True, return_counts=True)
        sums.counts[present] += counts
        sums.firsts[present] += np.add.reduceat(part[order], begins, axis=0)
        sums.seconds[...] += part.T @ part
    return sums


def _discriminant(sums: _Sums, shrinkage: float) -> Callable[[np.ndarray], np.ndarray]:
    """What gives features' scores [n, classes]: log-probabilities but for a constant of each row."""
    means = sums.firsts / sums.counts[:, None]
    covariance = (sums.seconds - sums.firsts.T @ means) / sums.counts.sum()
    width = len(covariance)
    shrunk = (1 - shrinkage) * covariance + shrinkage * max(np.trace(covariance) / width, 1e-6) * np.eye(width)
    weights = np.linalg.solve(shrunk, means.T)
    offsets = np.log(sums.counts / sums.counts.sum()) - (means.T * weights).sum(axis=0) / 2
    return lambda features: features @ weights + offsets


def _most_probable(
    lifted: _Lifted, labels: np.ndarray, held_out: Sequence[np.ndarray], learned: Sequence[_Sums]
) -> tuple[float, float]:
    """Shrinkage and temperature that give the labels of the rows that are held out, or of some, least cross-entropy."""
    tried = [rows[: _TRIED_ROWS // FOLDS] for rows in held_out]
    given = labels[np.concatenate(tried)]
    losses = {}
    for shrinkage in _SHRINKAGES:
        parts = zip(tried, learned, strict=True)
        scores = np.concatenate([_discriminant(sums, shrinkage)(lifted(rows)) for rows, sums in parts])
        for temperature in _TEMPERATURES:
            losses[shrinkage, temperature] = -_log_softmax(scores / temperature)[np.arange(len(given)), given].mean()
    return min(losses, key=losses.__getitem__)


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    shifted = scores - scores.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    for begin in range(0, len(rows), _ROWS_AT_ONCE):
        yield rows[begin : begin + _ROWS_AT_ONCE]
