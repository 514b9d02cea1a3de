"""Ray Tune's schedulers as the search sets them up, asked directly: no cluster."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from jobs.schedulers import TIME, make_scheduler, mode
from scenerec.tune_config import TuneConfig
from tests.tiny_search import invented, search_document

CURVES = {0: [0.3, 0.5, 0.6, 0.7], 1: [0.2, 0.3, 0.4, 0.5], 2: [0.1, 0.2, 0.2, 0.2]}


NO_OTHERS = SimpleNamespace(get_live_trials=list)  # what a scheduler asks of Tune


@dataclass(frozen=True)
class TuneTrial:
    trial_id: str


def search(**fields: Any) -> TuneConfig:
    return TuneConfig.model_validate(search_document(**fields))


def report(scheduler: Any, number: int, top1: list[float]) -> list[str]:
    """The scheduler's answers to a trial's epochs, until it stops it."""
    trial, answers = TuneTrial(str(number)), []
    scheduler.on_trial_add(NO_OTHERS, trial)
    for epoch, value in enumerate(top1, 1):
        answers.append(scheduler.on_trial_result(NO_OTHERS, trial, {TIME: epoch, "val_top1": value}))
        if answers[-1] == TrialScheduler.STOP:
            break
    return answers


@pytest.mark.parametrize("kind", ["asha", "median"])
def test_earlier_trials_are_compared_with_as_if_they_had_just_run(kind: str) -> None:
    config = search(scheduler=kind)
    fresh = make_scheduler(config, [])
    fresh.set_search_properties("val_top1", "max")
    for number, top1 in CURVES.items():
        report(fresh, number, top1)
    resumed = make_scheduler(config, [invented(number, *top1) for number, top1 in CURVES.items()])
    resumed.set_search_properties("val_top1", "max")
    for number, top1 in enumerate(([0.05] * 4, [0.4, 0.6, 0.7, 0.9], [0.25, 0.25, 0.25, 0.25]), 3):
        assert report(resumed, number, top1) == report(fresh, number, top1)


def test_asha_lets_a_trial_that_came_to_its_last_epoch_finish() -> None:
    """A trial that is stopped there would leave no result.json behind."""
    scheduler = make_scheduler(search(scheduler="asha"), [invented(0, *[0.9] * 9)])
    scheduler.set_search_properties("val_top1", "max")
    worse_at_the_end = [0.9] * 8 + [0.0]
    assert report(scheduler, 1, worse_at_the_end) == [TrialScheduler.CONTINUE] * 9


def test_a_loss_is_better_where_it_is_lower() -> None:
    assert (mode("val_top1"), mode("val_loss"), mode("latency_ms")) == ("max", "min", "min")
