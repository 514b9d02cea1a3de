import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.job_log import Event, Note, Progress
from tests.chaos.timeline import Point, Timeline, goodput, median_by_kind

STEPS_PER_EPOCH = 5


def line(step: int, images_per_s: float = 1.0, eta_s: float = 1.0) -> Progress:
    epoch, done = divmod(step - 1, STEPS_PER_EPOCH)
    return Progress(epoch + 1, 9, done + 1, STEPS_PER_EPOCH, images_per_s, 0.5, 0.1, eta_s)


def steady(first: int, last: int, begins_s: float = 0.0, step_s: float = 1.0) -> list[Point]:
    return [Point(begins_s + place * step_s, step) for place, step in enumerate(range(first, last + 1))]


def test_of_a_log_only_steps_count() -> None:
    told: list[tuple[float, Event]] = [(0, Note("training")), (1, line(1)), (2, line(5)), (3, line(6))]
    assert Timeline.of(told).points == (Point(1, 1), Point(2, 5), Point(3, 6))


def test_lines_that_are_sent_again_count_once() -> None:
    first = [(float(step), line(step, images_per_s=step)) for step in range(1, 6)]
    again = [(10 + at_s, event) for at_s, event in first]
    assert Timeline.of([*first, *again]).points == Timeline.of(first).points


def test_steps_made_again_count_as_such() -> None:
    told = [
        (1.0, line(1, 1)),
        (2.0, line(2, 2)),
        (3.0, line(3, 3)),
        (9.0, line(2, 4)),
        (10.0, line(3, 5)),
        (11.0, line(4, 6)),
    ]
    timeline = Timeline.of(told)
    assert timeline.firsts == (Point(1, 1), Point(2, 2), Point(3, 3), Point(11, 4))
    assert timeline.redone == 2
    assert timeline.redone_between(3, 9.5) == 1
    assert timeline.wall_s == 10


def test_recovery_ends_with_the_first_new_step_after_the_longest_pause() -> None:
    # Struck at 10; two more steps come from what was fetched already; then nothing new until 45.
    timeline = Timeline((*steady(1, 12), *steady(9, 12, begins_s=40), *steady(13, 20, begins_s=45)))
    assert timeline.recovery_s(struck_s=10, until_s=52, usual_s=2) == 35


def test_a_fault_that_holds_up_nothing_takes_no_time() -> None:
    assert Timeline(tuple(steady(1, 20))).recovery_s(struck_s=10, until_s=19, usual_s=2) == 0


def test_a_run_that_makes_no_new_step_has_not_recovered() -> None:
    timeline = Timeline((*steady(1, 12), *steady(9, 12, begins_s=40)))
    assert timeline.recovery_s(struck_s=11.5, until_s=60, usual_s=2) is None


@given(st.floats(0.01, 10), st.integers(2, 20))
def test_an_undisturbed_run_has_a_goodput_of_one(step_s: float, epochs: int) -> None:
    timeline = Timeline(tuple(steady(1, epochs * STEPS_PER_EPOCH, step_s=step_s)))
    assert goodput(timeline, timeline, STEPS_PER_EPOCH) == pytest.approx(1)


@given(st.integers(6, 19), st.floats(1, 100), st.integers(0, 5))
def test_waiting_and_steps_made_again_are_lost(struck: int, waited_s: float, redone: int) -> None:
    whole = Timeline(tuple(steady(1, 20)))
    before, resumed = steady(1, struck), struck + 1 - redone
    after = steady(resumed, 20, begins_s=before[-1].at_s + waited_s)
    disturbed = Timeline((*before, *after))
    assert disturbed.redone == redone
    assert goodput(disturbed, whole, STEPS_PER_EPOCH) == pytest.approx(19 / (19 + redone + waited_s - 1))


def test_a_run_of_one_epoch_tells_no_pace() -> None:
    with pytest.raises(ValueError, match="one epoch"):
        Timeline(tuple(steady(1, 5))).step_s(STEPS_PER_EPOCH)


def test_medians_by_kind() -> None:
    assert median_by_kind([("cut", 3), ("kill", 1), ("cut", 5), ("cut", 4)]) == {"cut": 4, "kill": 1}
