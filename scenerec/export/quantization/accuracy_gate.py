"""Gates that a quantised model must pass, and what is measured for them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from scenerec.errors import BundleError

SAME_DB = 200.0
"""Beyond what float32 resolves."""


class GateError(BundleError):
    """No quantised model passes the gates."""

    def __init__(self, message: str, report: dict[str, Any]) -> None:
        super().__init__(message)
        self.report = report
        """What was tried, and what it gave."""


@dataclass(frozen=True)
class Score:
    """How good a model is on some images."""

    top1: float
    """Fraction."""
    agreement: float
    """Share of the images with float32's first label."""
    snr_db: float
    """Of the logits, against float32's."""
    images: int


def score(logits: np.ndarray, reference: np.ndarray, labels: np.ndarray) -> Score:
    """Of `logits` against `reference`, both float32 [n, classes], on images of these labels, int64 [n]."""
    predicted = logits.argmax(1)
    return Score(
        top1=float((predicted == labels).mean()),
        agreement=float((predicted == reference.argmax(1)).mean()),
        snr_db=snr_db(reference, logits),
        images=len(labels),
    )


def top1_drop(base: Score, found: Score) -> float:
    """What `found` loses of the top-1 accuracy of `base`, in points (percent of the images)."""
    return round((base.top1 - found.top1) * 100, 6)


def snr_db(reference: np.ndarray, logits: np.ndarray) -> float:
    """Signal-to-noise ratio of `logits` against `reference`, both float32 [n, classes]; SAME_DB where they agree."""
    noise = float(np.square(reference.astype(np.float64) - logits).sum())
    signal = float(np.square(reference, dtype=np.float64).sum())
    return min(10 * float(np.log10(signal / noise)), SAME_DB) if noise else SAME_DB
