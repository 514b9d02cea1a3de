from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.inference.evaluation.significance import compare, mcnemar_p, paired_interval, wilson_interval

SMALL = st.integers(0, 60)


def exact_p(only_a: int, only_b: int) -> float:
    trials = only_a + only_b
    tail = sum(comb(trials, k) for k in range(min(only_a, only_b) + 1))
    return float(min(Fraction(1), Fraction(2 * tail, 2**trials)))


@given(SMALL, SMALL)
def test_mcnemar_is_the_binomial_tail(only_a: int, only_b: int) -> None:
    assert mcnemar_p(only_a, only_b) == pytest.approx(exact_p(only_a, only_b), rel=1e-10)
    assert mcnemar_p(only_a, only_b) == mcnemar_p(only_b, only_a)


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    # The first: the worked example of Fagerland, Lydersen, Laake (2013), BMC Medical Research Methodology 13:91.
    [(1, 7, 0.0703125), (0, 0, 1.0), (0, 10, 2 / 1024), (5, 5, 1.0), (2, 4, 44 / 64)],
)
def test_mcnemar_on_known_cases(only_a: int, only_b: int, p: float) -> None:
    assert mcnemar_p(only_a, only_b) == pytest.approx(p)


def test_mcnemar_copes_with_many_images() -> None:
    # Half a million each way apart from 1000: z = 1, of which 0.3173 lies beyond (with the continuity correction).
    assert mcnemar_p(500_500, 499_500) == pytest.approx(0.3173, abs=1e-3)
    assert mcnemar_p(900_000, 100_000) == 0.0


def test_mcnemar_is_a_probability() -> None:
    """Where the sides differ by one the tail is a half, but for rounding."""
    found = [mcnemar_p(half, half + 1) for half in range(1000)]
    assert max(found) <= 1
    assert found == pytest.approx([1.0] * 1000)


def test_intervals_on_known_cases() -> None:
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe 1998, table I
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson_interval(20, 20)[1] == 1.0
    # By hand: 3.5 and 0.5 of 12, so 1/4 with a standard error of sqrt(4 - 9/12) / 12.
    assert paired_interval(3, 0, 10) == pytest.approx((-0.04445, 0.54445), abs=1e-5)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share(case: tuple[int, int]) -> None:
    successes, trials = case
    low, high = wilson_interval(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    mirrored = wilson_interval(trials - successes, trials)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((low, high), abs=1e-12)


@given(SMALL, SMALL, st.integers(1, 5000))
def test_the_paired_interval_holds_the_difference(only_a: int, only_b: int, others: int) -> None:
    samples = only_a + only_b + others
    low, high = paired_interval(only_a, only_b, samples)
    assert -1 <= low <= (only_a - only_b) / samples <= high <= 1
    mirrored = paired_interval(only_b, only_a, samples)
    assert (-mirrored.high, -mirrored.low) == pytest.approx((low, high))


def test_the_paired_interval_covers_what_it_says() -> None:
    """Of many drawn pairs of models, 95 % of the intervals hold the true difference."""
    rng = np.random.default_rng(0)
    draws = rng.multinomial(200, [0.6, 0.12, 0.08, 0.2], 4000)
    held = [low <= 0.04 <= high for low, high in (paired_interval(int(d[1]), int(d[2]), 200) for d in draws)]
    assert 0.94 <= np.mean(held) <= 0.97


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), min_size=1))
def test_a_comparison_adds_up(rows: list[tuple[int, int, int]]) -> None:
    labels, a, b = (np.array(column) for column in zip(*rows, strict=True))
    found = compare(labels, a, b)
    assert found.both_right + found.only_a + found.only_b + found.both_wrong == found.samples == len(rows)
    assert found.difference == pytest.approx((a == labels).mean() - (b == labels).mean())
    assert found.agreement == (a == b).mean()
    mirrored = compare(labels, b, a)
    assert (mirrored.only_a, mirrored.p_value) == (found.only_b, found.p_value)


def test_the_sentence_says_who_is_better_or_that_none_is() -> None:
    labels = np.zeros(100, int)
    good, bad = np.arange(100) >= 90, np.arange(100) >= 60
    assert "A is better than B by 30.00 points" in compare(labels, good, bad).sentence
    assert "(p < 0.0001)" in compare(labels, good, bad).sentence
    assert "B is better than A by 30.00 points" in compare(labels, bad, good).sentence
    almost = np.arange(100) >= 88
    assert "A and B differ by 2.00 points" in compare(labels, good, almost).sentence
    assert "may be chance (p = 0.5)" in compare(labels, good, almost).sentence
    assert compare(labels, good, good).sentence == "A and B are right on the same images."
