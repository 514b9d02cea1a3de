"""How good predictions are: accuracy, confusions, calibration, as functions of labels, rankings and probabilities."""

from dataclasses import dataclass

import numpy as np

from scenerec.inference.evaluation.abstention import CoverageRow, answered_from, risk_coverage
from scenerec.inference.evaluation.predictions import Predictions
from scenerec.inference.evaluation.significance import Interval, wilson_interval

CALIBRATION_BINS = 15
"""Bins of the calibration error, as many as Guo et al. 2017 take."""
LISTED_CONFUSIONS = 50
"""Most pairs of classes that an evaluation lists."""


@dataclass(frozen=True)
class ClassAccuracy:
    """How good the predictions for one class are."""

    name: str
    """Name of the class."""
    samples: int
    """How many samples the class has."""
    correct: int
    """How many of its samples rank the class first."""
    predicted: int
    """How many samples of any class rank this class first."""
    accuracy: float | None
    """Share of its samples that rank the class first; None where the class has none."""


@dataclass(frozen=True)
class Confusion:
    """Samples of one class that were taken for another."""

    label: str
    """Class of the samples."""
    predicted: str
    """Class that they were taken for."""
    count: int
    """How many samples were taken for it."""
    share: float
    """Share of the samples of `label`."""


@dataclass(frozen=True)
class ReliabilityBin:
    """Samples whose confidence is in (low, high]."""

    low: float
    """Lowest confidence, which the bin does not include."""
    high: float
    """Highest confidence, which the bin includes."""
    samples: int
    """How many samples are in the bin."""
    confidence: float
    """Mean confidence of the samples; 0 where there are none."""
    accuracy: float
    """Share of the samples that are right; 0 where there are none."""


@dataclass(frozen=True)
class Evaluation:
    """Figures of a model's predictions. Accuracies and errors are fractions."""

    predictor: str
    """Name of the model."""
    samples: int
    """How many samples were evaluated."""
    top1: float
    """Share of the samples whose label ranks first."""
    top1_interval: Interval
    """Wilson's 95 % interval of the top-1 accuracy."""
    top1_without_coordinates: float | None
    """The same share where a model that reads coordinates is told none; None of other models, and of sets without."""
    top1_center_crop: float | None
    """The same share by the centre crop alone; None where there are no other crops."""
    top5: float
    """Share of the samples whose label is among the first five; with fewer than five classes, all."""
    mean_class_accuracy: float
    """Mean accuracy of the classes that have samples."""
    loss: float
    """Mean negative log-likelihood of the labels, in nats."""
    calibration_error: float
    """Expected calibration error (see the function of this name)."""
    loss_unscaled: float | None
    """What the loss would be at temperature 1; None of a model without a temperature."""
    calibration_error_unscaled: float | None
    """What the calibration error would be at temperature 1; None of a model without a temperature."""
    mean_confidence: float
    """Mean probability of the class that ranks first; above top1, the model is too sure of itself."""
    images_per_s: float
    """Images per second with reading and decoding, over all workers."""
    model_images_per_s: float | None
    """Images per second of the model alone, after its first batch, on one worker; None where one batch was all."""
    classes: tuple[ClassAccuracy, ...]
    """Accuracy of each class, in order of class index."""
    confusions: tuple[Confusion, ...]
    """Pairs of classes that were confused, the most frequent first, at most LISTED_CONFUSIONS."""
    reliability: tuple[ReliabilityBin, ...]
    """Samples by confidence."""
    risk_coverage: tuple[CoverageRow, ...]
    """What is right of the answers if the model gives those alone of which it is surest, the most answers first."""
    abstains_below: float | None
    """Confidence below which the model gives no answer; None where it always answers."""
    answered: CoverageRow | None
    """What it answers by this threshold; None where that is nothing, and where there is no threshold."""


def assess(predictions: Predictions, classes: tuple[str, ...]) -> Evaluation:
    """Computes all figures of `predictions` over `classes`."""
    labels, ranked = predictions.labels, predictions.ranked
    correct, clock, without = int(predictions.correct.sum()), predictions.clock, predictions.predicted_without
    center = predictions.predicted_center
    counts = confusion_counts(labels, predictions.predicted, len(classes))
    bins = reliability_bins(predictions.confidence, predictions.correct)
    unscaled, threshold = predictions.unscaled_log_probabilities, predictions.abstain_below
    return Evaluation(
        predictor=predictions.predictor,
        samples=len(labels),
        top1=correct / len(labels),
        top1_interval=wilson_interval(correct, len(labels)),
        top1_without_coordinates=None if without is None else float((without == labels).mean()),
        top1_center_crop=None if center is None else float((center == labels).mean()),
        top5=top_k_accuracy(labels, ranked, 5),
        mean_class_accuracy=mean_class_accuracy(counts),
        loss=-float(predictions.label_log_probabilities.mean(dtype=np.float64)),
        calibration_error=calibration_error(bins),
        loss_unscaled=None if unscaled is None else -float(unscaled[:, 1].mean(dtype=np.float64)),
        calibration_error_unscaled=None
        if unscaled is None
        else calibration_error(reliability_bins(np.exp(unscaled[:, 0]), predictions.correct)),
        mean_confidence=float(predictions.confidence.mean(dtype=np.float64)),
        images_per_s=len(labels) / max(clock.ended_s - clock.began_s, 1e-9),
        model_images_per_s=clock.model_images / clock.model_s if clock.model_images else None,
        classes=class_accuracies(counts, classes),
        confusions=confusions(counts, classes)[:LISTED_CONFUSIONS],
        reliability=bins,
        risk_coverage=risk_coverage(predictions.confidence, predictions.correct),
        abstains_below=threshold,
        answered=None if threshold is None else answered_from(predictions.confidence, predictions.correct, threshold),
    )


def top_k_accuracy(labels: np.ndarray, ranked: np.ndarray, k: int) -> float:
    """Returns the share of samples whose label is among the first k of their ranking.

    labels: int [n]; ranked: int [n, at least k, or all classes].
    """
    return float((ranked[:, :k] == labels[:, None]).any(axis=1).mean())


def confusion_counts(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts how many samples of class i were taken for class j, int64 [classes, classes]."""
    pairs = labels.astype(np.int64) * classes + predicted
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def class_accuracies(counts: np.ndarray, classes: tuple[str, ...]) -> tuple[ClassAccuracy, ...]:
    """Computes each class's accuracy from confusion counts, int64 [classes, classes]."""
    columns = (column.tolist() for column in (counts.sum(axis=1), counts.diagonal(), counts.sum(axis=0)))
    return tuple(
        ClassAccuracy(name, samples, correct, predicted, correct / samples if samples else None)
        for name, samples, correct, predicted in zip(classes, *columns, strict=True)
    )


def mean_class_accuracy(counts: np.ndarray) -> float:
    """Averages the accuracies of the classes that have samples: each class counts the same."""
    samples = counts.sum(axis=1)
    present = samples > 0
    return float((counts.diagonal()[present] / samples[present]).mean())


def confusions(counts: np.ndarray, classes: tuple[str, ...]) -> tuple[Confusion, ...]:
    """Lists the pairs that occur in confusion counts, the most frequent first.

    Of equals, the larger share of its class comes first, then the lower index.
    """
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
    """Sorts samples by confidence into bins of equal width over (0, 1] (Guo et al. 2017, section 2).

    confidence: float32 [n]; correct: bool [n].
    """
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
    """Returns the mean distance of confidence and accuracy over bins, weighted by their samples.

    Naeini, Cooper, Hauskrecht: Obtaining Well Calibrated Probabilities Using Bayesian Binning (AAAI 2015); Guo et al.:
    On Calibration of Modern Neural Networks (ICML 2017), equation 3.
    """
    samples = sum(each.samples for each in bins)
    return sum(each.samples * abs(each.confidence - each.accuracy) for each in bins) / samples
