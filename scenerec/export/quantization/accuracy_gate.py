"""The accuracy that a quantised model must keep, and what is measured for it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from scenerec.errors import BundleError

SAME_DB = 200.0
"""Signal-to-noise ratio of logits that agree: beyond what float32 resolves."""


class GateError(BundleError):
    """A network of which no quantised form passes the gates."""

    def __init__(self, message: str, report: dict[str, Any]) -> None:
        super().__init__(message)
        self.report = report
        """What was tried, and what it gave."""


@dataclass(frozen=True)
class Score:
    """How good a model is on some images."""

    top1: float
    """Share of the images whose label ranks first."""
    agreement: float
    """Share of the images to which float32 gives the same first label."""
    snr_db: float
    """Signal-to-noise ratio of the logits against float32's, in decibels."""
    images: int
    """How many images were seen."""


def score(logits: np.ndarray, reference: np.ndarray, labels: np.ndarray) -> Score:
    """Scores `logits` against `reference`, both float32 [n, classes], on images of these labels, int64 [n]."""
    predicted = logits.argmax(1)
    return Score(
        top1=float((predicted == labels).mean()),
        agreement=float((predicted == reference.argmax(1)).mean()),
        snr_db=snr_db(reference, logits),
        images=len(labels),
    )


def top1_drop(base: Score, found: Score) -> float:
    """Returns what `found` loses of the top-1 accuracy of `base`, in points (percent of the images)."""
    return round((base.top1 - found.top1) * 100, 6)


def snr_db(reference: np.ndarray, logits: np.ndarray) -> float:
    """Returns the signal-to-noise ratio of `logits` against `reference`, both float32 [n, classes], in decibels.

    It is SAME_DB where they agree.
    """
    noise = float(np.square(reference.astype(np.float64) - logits).sum())
    signal = float(np.square(reference, dtype=np.float64).sum())
    return min(10 * float(np.log10(signal / noise)), SAME_DB) if noise else SAME_DB
