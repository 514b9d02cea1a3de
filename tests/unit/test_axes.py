"""Where values lie on an axis, and which ticks it has."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.axes import Scale, log_ticks, round_ticks


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 9))
def test_round_ticks_are_few_even_and_between_the_ends(low: float, spread: float, most: int) -> None:
    ticks = round_ticks(low, low + spread, most)
    assert 0 <= len(ticks) <= most + 1
    slack = 1e-6 * max(abs(low), spread)
    assert all(low - slack <= tick <= low + spread + slack for tick in ticks)
    steps = [b - a for a, b in itertools.pairwise(ticks)]
    assert all(step == pytest.approx(steps[0], rel=1e-3) for step in steps)


@given(st.floats(1e-9, 1e3), st.floats(1.5, 1e9))
def test_log_ticks_lie_between_the_ends(low: float, ratio: float) -> None:
    ticks = log_ticks(low, low * ratio)
    assert 1 <= len(ticks) <= 12
    assert all(low * (1 - 1e-6) <= tick <= low * ratio * (1 + 1e-6) for tick in ticks)


def test_ticks_as_people_like_them() -> None:
    assert round_ticks(0.31, 0.88) == [0.4, 0.5, 0.6, 0.7, 0.8]
    assert round_ticks(1, 27, 8) == [5, 10, 15, 20, 25]
    assert round_ticks(3, 3) == [3]
    assert log_ticks(0.001, 1) == [0.001, 0.01, 0.1, 1]
    assert log_ticks(0.02, 0.3) == [0.03, 0.1, 0.3]


def test_a_scale_keeps_what_lies_beyond_at_its_end() -> None:
    scale = Scale(0.001, 1.0, 300, 100, is_log=True)
    assert [scale.at(value) for value in (1e-9, 0.001, 1.0, 50.0)] == [300, 300, 100, 100]
    assert scale.at(math.sqrt(0.001)) == pytest.approx(200)
    assert Scale(2, 2, 0, 10).at(2) == 5
