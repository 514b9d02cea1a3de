"""Answers that are withheld where a model is not sure enough: how many are left, and how many of these are right.

A classifier with a threshold on its confidence is a selective classifier: El-Yaniv and Wiener: On the Foundations of
Noise-free Selective Classification (JMLR 2010). The share of the images that it answers is its coverage; the share of
wrong ones among these answers its risk, and 1 - risk its precision.
"""

from dataclasses import dataclass

import numpy as np

from scenerec.inference.evaluation.significance import Interval, binomial_tail, wilson_interval

COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.3, 0.1)
"""Shares of the images that a risk-coverage table shows."""
DOUBT = 0.05
"""Probability with which a threshold may promise too much."""

_LEVELS = 100  # coverages at which a threshold is looked for
_STARTS = (5, 10, 20, 40, 80)  # of these, in percent, from which the search goes on to higher ones


@dataclass(frozen=True)
class CoverageRow:
    """What a model does if it answers the images alone of which it is surest."""

    threshold: float
    """Confidence from which on it answers."""
    answered: int
    """How many images it answers."""
    coverage: float
    """Share of the images that it answers."""
    precision: float
    """Share of the answers that are right."""
    precision_interval: Interval
    """Wilson's 95 % interval of the precision."""


def risk_coverage(confidence: np.ndarray, correct: np.ndarray) -> tuple[CoverageRow, ...]:
    """Lists what is answered at the COVERAGES, the largest first; where several are the same images, once.

    Args:
        confidence: probability of the class that ranks first, float32 [n], n >= 1.
        correct: whether that class is the label, bool [n].
    """
    ranking = _Ranking(confidence, correct)
    counts = dict.fromkeys(ranking.count_at(coverage) for coverage in COVERAGES)
    return tuple(ranking.row(count) for count in counts)


def answered_from(confidence: np.ndarray, correct: np.ndarray, threshold: float) -> CoverageRow | None:
    """Tells what is answered from a confidence of `threshold` on; None where that is nothing.

    confidence: float32 [n]; correct: bool [n].
    """
    ranking = _Ranking(confidence, correct)
    count = int((ranking.confidence >= threshold).sum())
    return ranking.row(count, threshold) if count else None


def find_threshold(confidence: np.ndarray, correct: np.ndarray, precision: float) -> CoverageRow | None:
    """Finds the lowest confidence from which on at least `precision` of the answers are right, also of other images.

    Of images drawn like these, the promise is kept with a probability of at least 1 - DOUBT: a coverage passes where an
    exact binomial test rejects that the risk is 1 - precision or more. Many coverages are tried, which would make one
    pass by luck: so they are tested in a fixed order, from several starts to ever higher ones until one fails, each
    start at its share of DOUBT (Angelopoulos et al.: Learn then Test, 2021, section 4.1; the bound is that of Geifman
    and El-Yaniv: Selective Classification for Deep Neural Networks, NeurIPS 2017).

    Args:
        confidence: probability of the class that ranks first, float32 [n], n >= 1.
        correct: whether that class is the label, bool [n].
        precision: share of the answers that shall be right, in (0, 1).

    Returns:
        What is answered; a threshold of 0 where all is. None where these images bear no such promise out.
    """
    ranking = _Ranking(confidence, correct)
    passed = 0
    for start in _STARTS:
        for level in range(start, _LEVELS + 1):
            count = ranking.count_at(level / _LEVELS)
            if binomial_tail(int(ranking.errors[count - 1]), count, 1 - precision) > DOUBT / len(_STARTS):
                break
            passed = max(passed, count)
    if not passed:
        return None
    return ranking.row(passed, 0.0 if passed == len(confidence) else None)


class _Ranking:
    """Images by falling confidence, and how many of the first ones are answered wrongly."""

    def __init__(self, confidence: np.ndarray, correct: np.ndarray) -> None:
        order = np.argsort(-confidence, kind="stable")
        self.confidence = confidence[order]
        self.errors = np.cumsum(~correct[order])

    def count_at(self, coverage: float) -> int:
        """How many are answered at a coverage of at least this: all of one confidence, or none of them."""
        least = self.confidence[max(1, round(coverage * len(self.confidence))) - 1]
        return int(np.searchsorted(-self.confidence, -least, side="right"))

    def row(self, count: int, threshold: float | None = None) -> CoverageRow:
        """The first `count` answered, from the lowest confidence of theirs on unless another is given."""
        right = count - int(self.errors[count - 1])
        lowest = float(self.confidence[count - 1])
        share = count / len(self.confidence)
        interval = wilson_interval(right, count)
        return CoverageRow(lowest if threshold is None else threshold, count, share, right / count, interval)
