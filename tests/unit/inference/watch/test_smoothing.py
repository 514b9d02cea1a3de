import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scenerec.inference.watch.smoothing import Smoothing

times = st.lists(st.floats(0.001, 2), min_size=1, max_size=20).map(np.cumsum)
constants = st.floats(0.05, 5)
BEFORE, AFTER = np.array([0.9, 0.1], np.float32), np.array([0.2, 0.8], np.float32)


@given(times, constants)
def test_a_change_comes_through_by_time_whatever_the_frame_rate(times: np.ndarray, time_constant_s: float) -> None:
    smoothing = Smoothing(time_constant_s)
    smoothing.update(0, BEFORE)
    for time_s in times:
        smoothed = smoothing.update(time_s, AFTER)
    expected = AFTER + np.exp(-times[-1] / time_constant_s) * (BEFORE - AFTER)
    np.testing.assert_allclose(smoothed, expected, atol=2e-6)


@given(st.lists(st.tuples(st.floats(-1, 10), st.floats(0, 1)), min_size=1, max_size=30), constants)
def test_probabilities_stay_probabilities(frames: list[tuple[float, float]], time_constant_s: float) -> None:
    """Also where a clock goes back."""
    smoothing = Smoothing(time_constant_s)
    for time_s, first in frames:
        smoothed = smoothing.update(time_s, np.array([first, 1 - first], np.float32))
        assert smoothed.min() >= -1e-6
        assert abs(smoothed.sum() - 1) < 1e-5


def test_after_the_time_constant_63_percent_have_come_through() -> None:
    smoothing = Smoothing(0.5)
    smoothing.update(3, np.array([0, 1], np.float32))
    np.testing.assert_allclose(smoothing.update(3.5, np.array([1, 0], np.float32))[0], 0.6321, atol=1e-4)


def test_without_a_time_constant_each_frame_counts_alone() -> None:
    smoothing = Smoothing(0)
    smoothing.update(0, BEFORE)
    np.testing.assert_array_equal(smoothing.update(0.01, AFTER), AFTER)
