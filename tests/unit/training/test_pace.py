"""How fast a training goes of late."""

import pytest

from scenerec.training.pace import Pace


def test_the_first_step_counts_for_nothing_once_there_is_a_second() -> None:
    pace = Pace(steps_per_epoch=10)
    assert pace.seconds_a_step(1, 100.0, at_first_s=60.0) == 60.0
    assert pace.seconds_a_step(2, 101.0, at_first_s=60.0) == 1.0
    assert pace.seconds_a_step(4, 105.0, at_first_s=60.0) == pytest.approx(5 / 3)


def test_a_validation_is_spread_over_the_epoch_and_slow_epochs_are_forgotten() -> None:
    pace, now_s = Pace(steps_per_epoch=4), 0.0
    for step, took_s in enumerate([9.0, 9.0, 9.0, 9.0, 1.0, 1.0, 1.0, 1.0, 5.0], start=1):
        now_s += took_s
        mean_s = pace.seconds_a_step(step, now_s, at_first_s=0.0)
    assert mean_s == 2.0, "of three steps of a second, and one with a validation of four before it"


def test_a_run_that_goes_on_begins_anew() -> None:
    assert Pace(steps_per_epoch=4).seconds_a_step(1001, 5.0, at_first_s=0.5) == 0.5
