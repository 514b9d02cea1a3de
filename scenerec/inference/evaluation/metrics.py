"""How good predictions are: accuracy, confusions, calibration. Pure functions of labels, rankings and probabilities."""

from dataclasses import dataclass

import numpy as np

from scenerec.inference.evaluation.predictions import Predictions
from scenerec.inference.evaluation.significance import Interval, wilson_interval

CALIBRATION_BINS = 15
"""As Guo et al. 2017."""
LISTED_CONFUSIONS = 50


@dataclass(frozen=True)
class ClassAccuracy:
    """One class."""

    name: str
    samples: int
    correct: int
    """Of its samples."""
    predicted: int
    """How many samples of any class were taken for it."""
    accuracy: float | None
    """Share of its samples whose label ranked first; None where it has none."""


@dataclass(frozen=True)
class Confusion:
    """Samples of one class that were taken for another."""

    label: str
    predicted: str
    count: int
    share: float
    """Of the samples of `label`."""


@dataclass(frozen=True)
class ReliabilityBin:
    """Samples whose confidence is in (low, high]."""

    low: float
    high: float
    samples: int
    confidence: float
    """Mean; 0 without samples."""
    accuracy: float
    """Share that was right; 0 without samples."""


@dataclass(frozen=True)
class Evaluation:
    """What predictions are worth. Accuracies and errors are fractions."""

    predictor: str
    """What predicted."""
    samples: int
    top1: float
    top1_interval: Interval
    """Wilson's, 95 %."""
    top5: float
    """With fewer than five classes, the label is always among the first five."""
    mean_class_accuracy: float
    """Mean over the classes that have samples."""
    loss: float
    """Mean negative log-likelihood of the labels, in nats."""
    calibration_error: float
    """Expected calibration error (see `calibration_error`)."""
    mean_confidence: float
    """Above top1, the model is too sure of itself."""
    images_per_s: float
    """With reading and decoding, over all workers."""
    model_images_per_s: float | None
    """The model alone, after its first batch, on one worker; None where one batch was all."""
    classes: tuple[ClassAccuracy, ...]
    """In order of class index."""
    confusions: tuple[Confusion, ...]
    """The most frequent first, at most LISTED_CONFUSIONS."""
    reliability: tuple[ReliabilityBin, ...]


def assess(predictions: Predictions, classes: tuple[str, ...]) -> Evaluation:
    """All figures of `predictions` over `classes`."""
    labels, ranked = predictions.labels, predictions.ranked
    correct, clock = int(predictions.correct.sum()), predictions.clock
    counts = confusion_counts(labels, predictions.predicted, len(classes))
    bins = reliability_bins(predictions.confidence, predictions.correct)
    return Evaluation(
        predictor=predictions.predictor,
        samples=len(labels),
        top1=correct / len(labels),
        top1_interval=wilson_interval(correct, len(labels)),
        top5=top_k_accuracy(labels, ranked, 5),
        mean_class_accuracy=mean_class_accuracy(counts),
        loss=-float(predictions.label_log_probabilities.mean(dtype=np.float64)),
        calibration_error=calibration_error(bins),
        mean_confidence=float(predictions.confidence.mean(dtype=np.float64)),
        images_per_s=len(labels) / max(clock.ended_s - clock.began_s, 1e-9),
        model_images_per_s=clock.model_images / clock.model_s if clock.model_images else None,
        classes=class_accuracies(counts, classes),
        confusions=confusions(counts, classes)[:LISTED_CONFUSIONS],
        reliability=bins,
    )


def top_k_accuracy(labels: np.ndarray, ranked: np.ndarray, k: int) -> float:
    """Share of samples whose label is among the first k of their ranking.

    labels: int [n]; ranked: int [n, at least k, or all classes].
    """
    return float((ranked[:, :k] == labels[:, None]).any(axis=1).mean())


def confusion_counts(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """How many samples of class i were taken for class j, int64 [classes, classes]."""
    pairs = labels.astype(np.int64) * classes + predicted
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def class_accuracies(counts: np.ndarray, classes: tuple[str, ...]) -> tuple[ClassAccuracy, ...]:
    """Each class's, from confusion counts."""
    columns = (column.tolist() for column in (counts.sum(axis=1), counts.diagonal(), counts.sum(axis=0)))
    return tuple(
        ClassAccuracy(name, samples, correct, predicted, correct / samples if samples else None)
        for name, samples, correct, predicted in zip(classes, *columns, strict=True)
    )


def mean_class_accuracy(counts: np.ndarray) -> float:
    """Mean of the classes' accuracies, over those with samples: each class counts the same."""
    samples = counts.sum(axis=1)
    present = samples > 0
    return float((counts.diagonal()[present] / samples[present]).mean())


def confusions(counts: np.ndarray, classes: tuple[str, ...]) -> tuple[Confusion, ...]:
    """The pairs that occur, the most frequent first; of equals, the larger share of its class, then the lower index."""
    wrong = counts - np.diag(counts.diagonal())
    labels, predicted = np.nonzero(wrong)
    count = wrong[labels, predicted]
    share = count / counts.sum(axis=1)[labels]
    order = np.lexsort((predicted, labels, -share, -count))
    return tuple(
        Confusion(classes[labels[i]], classes[predicted[i]], int(count[i]), float(share[i])) for i in order.tolist()
    )


def reliability_bins(
    confidence: np.ndarray, correct: np.ndarray, bins: int = CALIBRATION_BINS
) -> tuple[ReliabilityBin, ...]:
    """Samples by confidence, in bins of equal width over (0, 1] (Guo et al. 2017, section 2)."""
    of_bin = np.clip(np.ceil(confidence.astype(np.float64) * bins).astype(np.int64) - 1, 0, bins - 1)
    samples = np.bincount(of_bin, minlength=bins)
    divisor = np.maximum(samples, 1)
    confidences = np.bincount(of_bin, weights=confidence, minlength=bins) / divisor
    accuracies = np.bincount(of_bin, weights=correct, minlength=bins) / divisor
    return tuple(
        ReliabilityBin(index / bins, (index + 1) / bins, *row)
        for index, row in enumerate(zip(samples.tolist(), confidences.tolist(), accuracies.tolist(), strict=True))
    )


def calibration_error(bins: tuple[ReliabilityBin, ...]) -> float:
    """Expected calibration error: mean distance of confidence and accuracy over bins, weighted by their samples.

    Naeini, Cooper, Hauskrecht: Obtaining Well Calibrated Probabilities Using Bayesian Binning (AAAI 2015); Guo et al.:
    On Calibration of Modern Neural Networks (ICML 2017), equation 3.
    """
    samples = sum(each.samples for each in bins)
    return sum(each.samples * abs(each.confidence - each.accuracy) for each in bins) / samples
