"""The accuracy that a quantised model must keep, and what is measured for it."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from scenerec.errors import BundleError
from scenerec.inference.evaluation.multilabel_metrics import mean_average_precision
from scenerec.inference.predictors.predictor import agreement, cosine_similarities

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

    top1: float | None
    """Share of the images whose label ranks first; of a multi-label set, one of whose labels does. None of features."""
    agreement: float
    """Share of the images to which float32 gives the same first label (`predictor.agreement`); of features, the same
    nearest other image."""
    snr_db: float
    """Signal-to-noise ratio of the logits, or of the features, against float32's, in decibels."""
    images: int
    """How many images were seen."""
    map: float | None = None
    """Mean average precision on a multi-label set; None on another."""
    cosine: float | None = None
    """Mean cosine similarity of an image's features to float32's; None of a model that names classes."""

    @property
    def accuracy(self) -> float:
        """What must be kept: top-1, of a multi-label model mAP, of features their cosine similarity."""
        return next(value for value in (self.map, self.cosine, self.top1) if value is not None)

    @property
    def accuracy_name(self) -> str:
        """What `accuracy` is, in words."""
        if self.cosine is not None:
            return "cosine to float32"
        return "top-1" if self.map is None else "mAP"

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON values, as bundle.json has them."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def score(logits: np.ndarray, reference: np.ndarray, labels: np.ndarray) -> Score:
    """Scores `logits` against `reference`, both float32 [n, classes], on images of these labels.

    They are int64 [n]; or of a multi-label set 1 where an image has one, float32 [n, classes].
    """
    predicted, mean = logits.argmax(1), None
    if is_multilabel := labels.ndim > 1:
        mean = mean_average_precision(logits, labels > 0)
    right = labels[np.arange(len(labels)), predicted] > 0 if is_multilabel else predicted == labels
    return Score(
        top1=float(right.mean()),
        agreement=agreement(reference, logits, is_multilabel),
        snr_db=snr_db(reference, logits),
        images=len(labels),
        map=mean,
    )


def score_features(features: np.ndarray, reference: np.ndarray) -> Score:
    """Scores `features` against `reference`, both float32 [n, d]: by their angles, as nearest neighbours are found."""
    return Score(
        top1=None,
        agreement=float((_nearest_others(features) == _nearest_others(reference)).mean()),
        snr_db=snr_db(reference, features),
        images=len(features),
        cosine=float(cosine_similarities(reference, features).mean()),
    )


def _nearest_others(features: np.ndarray) -> np.ndarray:
    """For each of the images, [n, d], which other one has the most similar features: int64 [n]."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    similarities = (rows := features / np.maximum(lengths, np.finfo(np.float32).tiny)) @ rows.T
    np.fill_diagonal(similarities, -np.inf)
    return similarities.argmax(axis=1)


def top1_drop(base: Score, found: Score) -> float:
    """Returns what `found` loses of the accuracy of `base`, in points: of top-1, of mAP, or of the cosine times 100."""
    return round((base.accuracy - found.accuracy) * 100, 6)


def snr_db(reference: np.ndarray, logits: np.ndarray) -> float:
    """Returns the signal-to-noise ratio of `logits` against `reference`, both float32 [n, classes], in decibels.

    It is SAME_DB where they agree.
    """
    noise = float(np.square(reference.astype(np.float64) - logits).sum())
    signal = float(np.square(reference, dtype=np.float64).sum())
    return min(10 * float(np.log10(signal / noise)), SAME_DB) if noise else SAME_DB
