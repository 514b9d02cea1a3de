"""How much of a measured accuracy, or of the difference of two over the same images, may be chance."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

Z_95 = 1.959963984540054
"""Distance from the mean within which 95 % of the standard normal distribution lie."""
SIGNIFICANT = 0.05
"""Probability below which a difference is more than chance."""


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    """Lower bound."""
    high: float
    """Upper bound."""


@dataclass(frozen=True)
class Comparison:
    """Two models over the same images; shares and differences are fractions."""

    samples: int
    """How many images both models saw."""
    agreement: float
    """Share of images for which both rank the same class first, right or wrong."""
    both_right: int
    """How many images both models get right."""
    only_a: int
    """How many images A gets right, and B wrong."""
    only_b: int
    """How many images B gets right, and A wrong."""
    both_wrong: int
    """How many images both models get wrong."""
    difference: float
    """Top-1 accuracy of A minus that of B."""
    difference_interval: Interval
    """95 % interval of the difference (see `paired_interval`)."""
    p_value: float
    """How probable so uneven a result is for models that are equally good (see `mcnemar_p`)."""

    @property
    def sentence(self) -> str:
        """The outcome in plain words."""
        return self.words("A", "B")

    def words(self, a: str, b: str) -> str:
        """The outcome in plain words, with names for A and B."""
        if not self.only_a + self.only_b:
            return f"{a} and {b} are right on the same images."
        low, high = (100 * bound for bound in self.difference_interval)
        points = f"{abs(100 * self.difference):.2f} points (95 % interval of {a} - {b}: {low:+.2f} to {high:+.2f})"
        if self.may_be_chance:
            return f"{a} and {b} differ by {points}, {self.chance}."
        better, worse = (a, b) if self.difference > 0 else (b, a)
        return f"{better} is better than {worse} by {points}, {self.chance}."

    @property
    def may_be_chance(self) -> bool:
        """Whether models that are equally good would often differ by as much."""
        return self.p_value >= SIGNIFICANT

    @property
    def chance(self) -> str:
        """The same in words, with the p-value."""
        p = f"p = {self.p_value:.2g}" if self.p_value >= 1e-4 else "p < 0.0001"
        return f"which may be chance ({p})" if self.may_be_chance else f"more than chance explains ({p})"


def compare(labels: np.ndarray, predicted_a: np.ndarray, predicted_b: np.ndarray) -> Comparison:
    """Compares the predicted classes of A and B; all int [n], n >= 1, over the same samples."""
    right_a, right_b = predicted_a == labels, predicted_b == labels
    samples, only_a, only_b = len(labels), int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    return Comparison(
        samples=samples,
        agreement=float((predicted_a == predicted_b).mean()),
        both_right=int((right_a & right_b).sum()),
        only_a=only_a,
        only_b=only_b,
        both_wrong=int((~right_a & ~right_b).sum()),
        difference=(only_a - only_b) / samples,
        difference_interval=paired_interval(only_a, only_b, samples),
        p_value=mcnemar_p(only_a, only_b),
    )


def mcnemar_p(only_a: int, only_b: int) -> float:
    """Returns the p-value of McNemar's exact test, two-sided, for the images that one model alone gets right.

    Where both models are equally good, each such image falls to either with probability 1/2 (McNemar 1947; exact
    binomial form: Dietterich 1998).
    """
    trials, fewer = only_a + only_b, min(only_a, only_b)
    return 1.0 if 2 * fewer == trials else min(1.0, 2 * binomial_tail(fewer, trials, 0.5))


def binomial_tail(successes: int, trials: int, share: float) -> float:
    """Returns the probability of at most so many successes, each of the trials one with probability `share` in (0, 1).

    An exact test rejects a true share of `share` or more where this is small (Clopper and Pearson 1934).
    """
    if successes >= trials:
        return 1.0
    if successes > share * trials:  # beyond the largest term: the other tail is the shorter way
        return 1 - binomial_tail(trials - successes - 1, trials, 1 - share)
    # From its largest term downwards: P(k - 1) = P(k) k / (n - k + 1) (1 - share) / share.
    term = total = 1.0
    for k in range(successes, 0, -1):
        term *= k / (trials - k + 1) * (1 - share) / share
        total += term
        if term < 1e-17 * total:
            break
    log_largest = math.lgamma(trials + 1) - math.lgamma(successes + 1) - math.lgamma(trials - successes + 1)
    log_largest += successes * math.log(share) + (trials - successes) * math.log1p(-share)
    return min(1.0, math.exp(log_largest + math.log(total)))


def wilson_interval(successes: int, trials: int) -> Interval:
    """Returns the interval of a share (Wilson 1927): good for small numbers, and near 0 and 1; trials >= 1."""
    share, z2 = successes / trials, Z_95**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z_95 / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    return Interval(max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share)))


def paired_interval(only_a: int, only_b: int, samples: int) -> Interval:
    """Returns the interval of the difference of two shares over the same samples.

    Agresti and Min: Simple Improved Confidence Intervals for Comparing Matched Proportions (2005): Wald's, with 1/2
    added to each of the four cells.
    """
    a, b, n = only_a + 0.5, only_b + 0.5, samples + 2
    difference = (a - b) / n
    half = Z_95 * math.sqrt((a + b) - (a - b) ** 2 / n) / n
    return Interval(max(-1.0, difference - half), min(1.0, difference + half))
