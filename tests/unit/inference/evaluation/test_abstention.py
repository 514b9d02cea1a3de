"""Thresholds on confidence: what they promise is kept, and few images promise little."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.inference.evaluation.abstention import DOUBT, answered_from, find_threshold, risk_coverage
from scenerec.inference.evaluation.significance import binomial_tail


def drawn(rng: np.random.Generator, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Confidences, and whether the answers are right: a little less often than the confidences say."""
    confidence = rng.uniform(0.2, 1, images).astype(np.float32)
    return confidence, rng.uniform(size=images) < confidence**1.5


def true_precision(threshold: float) -> float:
    """Of `drawn`: the mean of c ** 1.5 over c from the threshold to 1."""
    low = min(max(threshold, 0.2), 1 - 1e-9)
    return (1 - low**2.5) / 2.5 / (1 - low)


@pytest.mark.parametrize(("images", "precision"), [(600, 0.8), (1500, 0.85)])
def test_the_promised_precision_is_kept_on_other_images(images: int, precision: float) -> None:
    """In all but DOUBT of the draws; with 300 draws a rate of DOUBT stays below 0.09 in 999 of 1000 cases."""
    rng = np.random.default_rng(images)
    found = [find_threshold(*drawn(rng, images), precision) for _ in range(300)]
    thresholds = [each.threshold for each in found if each]
    assert len(thresholds) > 100
    broken = sum(true_precision(threshold) < precision for threshold in thresholds)
    assert broken / len(found) < DOUBT + 0.04
    assert np.median([each.coverage for each in found if each]) > 0.1


def test_few_images_promise_nothing() -> None:
    """58 right answers of 58 do not tell 95 % from more: 0.95 ** 58 is above 5 %."""
    assert find_threshold(np.linspace(0.9, 1, 58, dtype=np.float32), np.ones(58, bool), 0.95) is None


def test_where_the_promise_holds_for_all_nothing_is_withheld() -> None:
    found = find_threshold(np.linspace(0.3, 1, 500, dtype=np.float32), np.ones(500, bool), 0.95)
    assert found is not None
    assert (found.threshold, found.coverage, found.precision) == (0.0, 1.0, 1.0)


def test_images_of_one_confidence_are_answered_together() -> None:
    confidence = np.repeat(np.float32([0.9, 0.5]), [60, 40])
    correct = np.repeat([True, False], [80, 20])
    rows = risk_coverage(confidence, correct)
    assert [(row.answered, round(row.threshold, 3), row.precision) for row in rows] == [
        (100, 0.5, 0.8),
        (60, 0.9, 1.0),
    ]
    assert answered_from(confidence, correct, 0.95) is None


@given(st.integers(0, 2**32 - 1), st.integers(1, 200))
def test_a_table_agrees_with_counting(seed: int, images: int) -> None:
    rng = np.random.default_rng(seed)
    confidence = rng.choice(np.float32([0.2, 0.4, 0.6, 0.8, 1.0]), images)
    correct = rng.uniform(size=images) < 0.7
    for row in risk_coverage(confidence, correct):
        answered = confidence >= np.float32(row.threshold)
        assert row.answered == answered.sum()
        assert row.precision == pytest.approx(correct[answered].mean())
        assert answered_from(confidence, correct, row.threshold) == row


@pytest.mark.parametrize(("successes", "trials", "share"), [(0, 59, 0.05), (3, 40, 0.1), (30, 40, 0.1), (7, 7, 0.5)])
def test_the_binomial_tail_is_the_sum_of_its_terms(successes: int, trials: int, share: float) -> None:
    from math import comb

    terms = (comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(successes + 1))
    assert binomial_tail(successes, trials, share) == pytest.approx(sum(terms), rel=1e-10)
