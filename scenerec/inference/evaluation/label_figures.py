"""How good the answers for each label of a multi-label set are. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from scenerec.inference.evaluation import multilabel_metrics as formulas
from scenerec.inference.predictors.predictor import sigmoid


@dataclass(frozen=True)
class LabelFigures:
    """How good the answers for one label are. All are fractions."""

    name: str
    """Name of the label."""
    samples: int
    """How many samples have it."""
    given: int
    """How many samples the model gives it to."""
    average_precision: float | None
    """Average precision of the ranking by its probability; None where no sample has it."""
    threshold: float
    """Probability from which on the model gives it."""
    precision: float
    """Share of those that it is given to that have it; 0 where it is given to none."""
    recall: float
    """Share of those that have it that it is given to; 0 where none has it."""
    f1: float
    """Harmonic mean of both."""
    best_threshold: float
    """Threshold that would have the highest F1 on these samples."""
    best_f1: float
    """F1 at that threshold."""


def label_figures(
    logits: np.ndarray, labels: np.ndarray, thresholds: Sequence[float], classes: Sequence[str]
) -> tuple[LabelFigures, ...]:
    """Figures of each of `classes`, in their order; each is given from its threshold on.

    `logits` (float32) and `labels` (bool) are [n, classes].
    """
    probabilities = sigmoid(logits)
    given, best = probabilities >= np.array(thresholds), formulas.best_thresholds(probabilities, labels)
    found = formulas.precision_recall_f1(given, labels)
    best_f1 = formulas.precision_recall_f1(probabilities >= best, labels)[2]
    columns = (labels.sum(0), given.sum(0), formulas.average_precisions(logits, labels), thresholds, *found)
    rows = zip(classes, *(np.asarray(column).tolist() for column in (*columns, best, best_f1)), strict=True)
    return tuple(
        LabelFigures(name, samples, count, None if np.isnan(ap) else ap, *others)
        for name, samples, count, ap, *others in rows
    )


def hardest_first(labels: Iterable[LabelFigures]) -> list[LabelFigures]:
    """The labels by rising average precision; those that no sample has come last."""
    return sorted(labels, key=lambda each: (each.average_precision is None, each.average_precision or 0))
