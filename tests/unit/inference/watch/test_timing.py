import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scenerec.inference.watch.timing import Durations, Timing

durations = st.lists(st.floats(1e-5, 100), min_size=1, max_size=100)


@given(durations, st.floats(0.01, 1))
def test_quantiles_are_those_of_all_durations_within_a_bucket(values: list[float], share: float) -> None:
    counted = Durations()
    for value in values:
        counted.add(value)
    expected = float(np.quantile(values, share, method="inverted_cdf"))
    assert abs(counted.quantile_s(share) / expected - 1) <= 0.0051
    assert counted.longest_s == max(values)


def test_a_run_of_any_length_takes_the_same_memory() -> None:
    counted = Durations()
    for number in range(20000):
        counted.add(0.001 + number % 100 / 1e5)
    assert len(counted._counts) < 100


def test_a_summary_counts_what_was_skipped_and_how_old_frames_were() -> None:
    timing = Timing()
    timing.add(captured_at=10.0, began_at=10.0, answered_at=10.02, skipped=0)
    timing.add(captured_at=10.5, began_at=10.53, answered_at=10.55, skipped=4)
    timing.add(captured_at=10.9, began_at=10.9, answered_at=11.0, skipped=1)
    found = timing.summary()
    assert (found.frames, found.skipped) == (3, 5)
    np.testing.assert_allclose([found.seconds, found.frames_per_s], [1.0, 3.0])
    np.testing.assert_allclose([found.p50_ms, found.p99_ms, found.oldest_ms], [50, 100, 30], rtol=0.006)


def test_before_the_first_answer_there_are_no_times() -> None:
    found = Timing().summary()
    assert (found.frames, found.seconds, found.frames_per_s, found.p99_ms) == (0, 0, 0, 0)
