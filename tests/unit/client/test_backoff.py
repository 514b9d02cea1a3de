import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.client.backoff import FIRST_PAUSE_S, LONGEST_PAUSE_S, pause_s

attempts = st.integers(0, 100_000)
draws = st.floats(0, 1, exclude_max=True)
seconds = st.floats(0, 1e6)
asked = st.none() | seconds


@given(attempts, st.integers(0, 10), asked, seconds, draws)
def test_a_pause_ends_before_the_deadline_and_only_where_retries_are_left(
    attempt: int, retries: int, retry_after_s: float | None, remaining_s: float, draw: float
) -> None:
    pause = pause_s(attempt, retries, retry_after_s, remaining_s, draw)
    if attempt >= retries:
        assert pause is None
    if pause is not None:
        assert 0 <= pause < remaining_s


@given(attempts, asked, draws)
def test_the_server_is_never_asked_earlier_than_it_wants(
    attempt: int, retry_after_s: float | None, draw: float
) -> None:
    pause = pause_s(attempt, attempt + 1, retry_after_s, math.inf, draw)
    assert pause is not None
    assert (retry_after_s or 0) <= pause <= (retry_after_s or 0) + LONGEST_PAUSE_S


@given(st.integers(0, 5), draws)
def test_it_doubles(attempt: int, draw: float) -> None:
    first, second = (pause_s(each, 10, None, math.inf, draw) for each in (attempt, attempt + 1))
    assert first is not None
    assert second is not None
    assert first == pytest.approx(draw * FIRST_PAUSE_S * 2**attempt)
    assert second == pytest.approx(min(2 * first, draw * LONGEST_PAUSE_S))


@given(attempts, seconds, draws)
def test_what_the_server_wants_beyond_the_deadline_is_not_awaited(
    attempt: int, remaining_s: float, draw: float
) -> None:
    assert pause_s(attempt, attempt + 1, remaining_s, remaining_s, draw) is None


@given(attempts, seconds, st.floats(max_value=0, allow_nan=False), draws)
def test_a_negative_wish_is_none(attempt: int, remaining_s: float, retry_after_s: float, draw: float) -> None:
    assert pause_s(attempt, attempt + 1, retry_after_s, remaining_s, draw) == pause_s(
        attempt, attempt + 1, None, remaining_s, draw
    )
