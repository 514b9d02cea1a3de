"""The course of a call without any I/O: what is yielded under a clock and draws of the test."""

from datetime import UTC, datetime

import pytest

from scenerec.client import TimedOutError
from scenerec.client.call import ready
from scenerec.client.exchange import EndpointResponse, Exchange, NoResponse, Outcome, PauseStep, SendStep, retry_after_s

NOW = datetime(2026, 10, 21, 7, 28, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def course(outcome: Outcome, took_s: float) -> tuple[list[SendStep | PauseStep], Exception]:
    """What is to be done where each attempt ends so after `took_s`, 10 s and 9 retries allowed, and the error."""
    clock = Clock()
    steps = Exchange("http://endpoint", None, 10.0, 9).steps(ready(), clock, draw=lambda: 0.5)
    done: list[SendStep | PauseStep] = []
    answer: Outcome = None
    with pytest.raises(Exception) as caught:
        while True:
            step = steps.send(answer)
            done.append(step)
            clock.now_s += step.seconds if isinstance(step, PauseStep) else took_s
            answer = None if isinstance(step, PauseStep) else outcome
    return done, caught.value


def test_attempts_and_pauses_alternate_within_the_deadline() -> None:
    done, error = course(EndpointResponse(500, {}, b""), took_s=1.0)
    sends, pauses = done[::2], done[1::2]
    assert [pause.seconds for pause in pauses if isinstance(pause, PauseStep)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6]
    remaining = [send.remaining_s for send in sends if isinstance(send, SendStep)]
    assert remaining == pytest.approx([10, 8.95, 7.85, 6.65, 5.25, 3.45, 0.85])
    assert len(remaining) + len(pauses) == len(done)
    assert "500" in str(error)


def test_retry_after_is_waited_for_with_jitter_on_top() -> None:
    done, error = course(EndpointResponse(502, {"retry-after": "3"}, b""), took_s=0.0)
    assert [step.seconds for step in done if isinstance(step, PauseStep)] == [3.05, 3.1, 3.2]
    assert getattr(error, "retry_after_s", None) == 3


def test_an_attempt_that_took_all_the_time_is_the_last() -> None:
    done, error = course(NoResponse("timed out", timed_out=True), took_s=10.0)
    assert len(done) == 1
    assert isinstance(error, TimedOutError)


def test_a_pause_that_took_too_long_ends_with_what_was_the_matter() -> None:
    clock = Clock()
    steps = Exchange("http://endpoint", None, 10.0, 9).steps(ready(), clock)
    steps.send(None)
    assert isinstance(steps.send(EndpointResponse(429, {}, b"")), PauseStep)
    clock.now_s += 11
    with pytest.raises(Exception, match="429"):
        steps.send(None)


def test_what_cannot_pass_is_not_tried_again() -> None:
    assert len(course(NoResponse("no such protocol", may_pass=False), took_s=0.0)[0]) == 1


@pytest.mark.parametrize(
    ("header", "expected_s"),
    [
        (None, None),
        ("2", 2.0),
        (" 2 ", 2.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2026 07:27:30 GMT", 0.0),
        ("soon", None),
        ("9" * 5000, float("inf")),
        ("Wed, 21 Oct 2026 07:28:30 +99999999999999999999", None),
        ("Wed, 99999999999999999999 Oct 2026 07:28:30 GMT", None),
        ("-1", None),
        ("", None),
    ],
)
def test_retry_after(header: str | None, expected_s: float | None) -> None:
    assert retry_after_s(header, NOW) == expected_s
