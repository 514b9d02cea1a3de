"""Which labels are likely wrong, by confident learning (Northcutt, Jiang, Chuang, JAIR 70, 2021). Pure.

How many they are is estimated, and which they are is ranked. It needs probabilities that are somebody's who has not
learned from these labels, and nothing else: a class of which he is never sure needs less to be believed than others.
"""

from typing import NamedTuple

import numpy as np


class Doubts(NamedTuple):
    """Images whose labels are likely wrong, the likeliest first."""

    rows: np.ndarray
    """Which images they are, int64 [m]."""
    likely: np.ndarray
    """What they likely show: class indices, int64 [m]."""


def thresholds(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How probable each class must be to be believed, float64 [classes]: as it is on average of its own images.

    Of probabilities [n, classes] and class indices, int [n] (equation 2). Infinite for a class without images.
    """
    classes = probabilities.shape[1]
    counts = np.bincount(labels, minlength=classes)
    sums = np.bincount(labels, _of(probabilities, labels), classes)
    return np.divide(sums, counts, out=np.full(classes, np.inf), where=counts > 0)


def confident_joint(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Images by label (row) and by what they are believed to show (column), int64 [classes, classes].

    That is the most probable of the classes that reach their thresholds; where none does, an image is not counted
    (equation 1).
    """
    classes = probabilities.shape[1]
    enough = probabilities >= thresholds(probabilities, labels)
    counted = enough.any(axis=1)
    believed = np.where(enough, probabilities, -1).argmax(axis=1)
    cells = labels[counted] * classes + believed[counted]
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def wrong_labels(probabilities: np.ndarray, labels: np.ndarray) -> int:
    """How many labels are wrong, estimated: the joint's images off the diagonal, if each row had all of its label's.

    (Equation 3.) Labels of whose images none was counted are taken as right.
    """
    joint = confident_joint(probabilities, labels).astype(np.float64)
    rows = joint.sum(axis=1)
    shares = np.divide(rows - joint.diagonal(), rows, out=np.zeros_like(rows), where=rows > 0)
    return round(float(shares @ np.bincount(labels, minlength=len(joint))))


def doubts(probabilities: np.ndarray, labels: np.ndarray) -> Doubts:
    """As many images as are estimated to have wrong labels: those of the lowest normalised margins (section 3.2).

    That is how much more probable the label is than the likeliest other class; where it is, the label is not doubted.
    """
    others = probabilities.copy()
    others[np.arange(len(labels)), labels] = -1
    likely = others.argmax(axis=1)
    margins = _of(probabilities, labels) - _of(probabilities, likely)
    rows = np.argsort(margins, kind="stable")[: wrong_labels(probabilities, labels)]
    rows = rows[margins[rows] < 0]
    return Doubts(rows, likely[rows])


def _of(probabilities: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Of each row the probability of a class, float64 [n]."""
    return probabilities[np.arange(len(classes)), classes].astype(np.float64)
