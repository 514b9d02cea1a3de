"""How good the answers of a multi-label model are: average precision, F1, thresholds by class. Pure.

Scores are anything that rises with the probability, such as logits. Scores that are equal are one step of the ranking,
so that no figure depends on the order of the samples. Figures are those of scikit-learn's functions of the same names.
"""

import numpy as np

from scenerec.inference.predictors.predictor import DEFAULT_THRESHOLD


def mean_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean binary cross-entropy, in nats, over n samples and all classes: logits and labels (0, 1) [n, classes]."""
    x = logits.astype(np.float64)
    return float((np.maximum(x, 0) - x * labels + np.log1p(np.exp(-np.abs(x)))).mean())


def average_precisions(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Average precision of each class, sum over k of (recall_k - recall_k-1) precision_k, float64 [classes].

    NaN for a class that no sample has. `scores` and `labels` (bool) are [n, classes].
    """
    return np.array([_average_precision(*column) for column in zip(scores.T, labels.T, strict=True)])


def mean_average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """The mean of the average precisions of the classes that some sample has (macro average); NaN where none is."""
    of_classes = average_precisions(scores, labels)
    there = of_classes[~np.isnan(of_classes)]
    return float(there.mean()) if len(there) else float("nan")


def precision_recall_f1(given: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 of each class, float64 [classes] each; 0 where one divides by 0.

    `given` (whether a label is given) and `labels` are bool [n, classes].
    """
    right = (given & labels).sum(axis=0)
    of_given, of_labels = given.sum(axis=0), labels.sum(axis=0)
    return _share(right, of_given), _share(right, of_labels), _share(2 * right, of_given + of_labels)


def micro_f1(given: np.ndarray, labels: np.ndarray) -> float:
    """F1 over all decisions of all classes, bool [n, classes] each; 0 where no label is given and none is there."""
    return float(_share(np.array(2 * (given & labels).sum()), np.array(given.sum() + labels.sum())))


def best_thresholds(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """For each class the probability from which on its label is given for the highest F1, float64 [classes].

    It lies midway between the lowest probability that is given the label and the highest that is not, so that no
    rounding changes a decision. Of equal F1, the highest threshold; DEFAULT_THRESHOLD for a class that no sample has.
    """
    return np.array([_best_threshold(*column) for column in zip(probabilities.T, labels.T, strict=True)])


def _average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    if not labels.any():
        return float("nan")
    ends, right = _steps(scores, labels)
    precision, recall = right / (ends + 1), right / right[-1]
    return float((np.diff(recall, prepend=0) * precision).sum())


def _best_threshold(probabilities: np.ndarray, labels: np.ndarray) -> float:
    if not labels.any():
        return DEFAULT_THRESHOLD
    ends, right = _steps(probabilities, labels)
    lowest_given = np.sort(probabilities)[::-1][ends].astype(np.float64)
    best = int((2 * right / (ends + 1 + labels.sum())).argmax())
    below = lowest_given[best + 1] if best + 1 < len(ends) else 0.0
    return float((lowest_given[best] + below) / 2)


def _steps(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of samples by falling score, the last place of each score, and the labels up to there: int64 [scores] each."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    return ends, np.cumsum(labels[order])[ends]


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)
