from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.inference.predictors.latency import interleaved, measure, percentile
from tests.tiny_bundle import make_tiny_bundle


def test_every_batch_size_is_timed_at_every_number_of_threads(tmp_path: Path) -> None:
    timings = list(measure(make_tiny_bundle(tmp_path / "bundle"), [1, 4], [1, 2], seconds_each=0.05))
    assert [(timing.threads, timing.batch_size) for timing in timings] == [(1, 1), (1, 4), (2, 1), (2, 4)]
    for timing in timings:
        assert timing.calls >= 10
        assert 0 < timing.p50_ms <= timing.p99_ms
        assert timing.images_per_s == pytest.approx(timing.batch_size / timing.p50_ms * 1e3)


def test_calls_take_turns() -> None:
    calls: list[str] = []
    pairs = interleaved(lambda: calls.append("a"), lambda: calls.append("b"), seconds=0)
    timed = "".join(calls)[6:]
    assert len(pairs) == 10
    assert timed == "abba" * 5


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_the_smallest_value_that_the_share_does_not_exceed(values: list[float], share: float) -> None:
    value = percentile(sorted(values), share)
    assert sum(each <= value for each in values) >= share * len(values) > sum(each < value for each in values)
