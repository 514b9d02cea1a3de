from hypothesis import given
from hypothesis import strategies as st

from serve.access.rate import take

RATES = st.floats(0.1, 100)
BURSTS = st.floats(1, 50)


@given(per_s=RATES, burst=BURSTS, waits=st.lists(st.floats(0, 5), max_size=60))
def test_never_lets_more_through_than_burst_and_rate_allow(per_s: float, burst: float, waits: list[float]) -> None:
    bucket, now, passed = None, 0.0, 0
    for wait in waits:
        now += wait
        bucket, wait_s = take(bucket, now, 1.0, per_s, burst)
        passed += wait_s == 0
    assert passed <= burst + per_s * now + 1e-6


@given(per_s=RATES, burst=st.integers(1, 50), cost=st.integers(1, 200))  # whole: what is missing is no rounding
def test_who_waits_as_told_is_let_through(per_s: float, burst: int, cost: int) -> None:
    bucket, wait_s = take(None, 0.0, cost, per_s, burst)
    assert wait_s == 0  # a full bucket lets anything through
    while not wait_s:
        bucket, wait_s = take(bucket, 0.0, cost, per_s, burst)
    assert take(bucket, wait_s * 0.99, cost, per_s, burst)[1] > 0
    assert take(bucket, wait_s * 1.01, cost, per_s, burst)[1] == 0


def test_what_is_refused_costs_nothing() -> None:
    bucket, _ = take(None, 0.0, 10, per_s=1, burst=10)
    refused, wait_s = take(bucket, 1.0, 5, per_s=1, burst=10)
    assert wait_s == 4
    assert refused.tokens == 1.0
    assert take(refused, 5.0, 5, per_s=1, burst=10)[1] == 0


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket, _ = take(None, 100.0, 10, per_s=1, burst=10)
    assert take(bucket, 50.0, 1, per_s=1, burst=10)[1] > 0
