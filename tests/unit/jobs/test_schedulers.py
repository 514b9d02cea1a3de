"""Ray Tune's schedulers as the search sets them up, asked directly: no cluster."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from jobs.schedulers import TIME, make_scheduler, mode
from scenerec.config.tune import TuneConfig
from tests.tiny_search import invented, search_document

CURVES = {0: [0.3, 0.5, 0.6, 0.7], 1: [0.2, 0.3, 0.4, 0.5], 2: [0.1, 0.2, 0.2, 0.2]}


@dataclass
class TuneTrial:
    """What a scheduler looks at of Tune's trial."""

    number: int
    status: str = "RUNNING"

    @property
    def trial_id(self) -> str:
        return str(self.number)

    def __str__(self) -> str:
        return f"{self.number:04d}"

    def __hash__(self) -> int:
        return self.number


class Controller:
    """What a scheduler asks of Tune."""

    def __init__(self, is_finished: bool = False) -> None:
        self.trials: list[Any] = []
        self.search_alg = SimpleNamespace(is_finished=lambda: is_finished)
        self.scheduler: Any = None

    def get_trials(self) -> list[Any]:
        return self.trials

    def get_live_trials(self) -> list[TuneTrial]:
        return []

    def stop_trial(self, trial: TuneTrial) -> None:
        self.scheduler.on_trial_remove(self, trial)
        trial.status = "TERMINATED"


def search(**fields: Any) -> TuneConfig:
    return TuneConfig.model_validate(search_document(**fields))


def report(scheduler: Any, number: int, top1: list[float]) -> list[str]:
    """The scheduler's answers to a trial's epochs, until it ends or pauses it."""
    trial, answers = TuneTrial(number), []
    scheduler.on_trial_add(Controller(), trial)
    for epoch, value in enumerate(top1, 1):
        result = {TIME: epoch, "val_top1": value, "is_last": epoch == 9}
        answers.append(scheduler.on_trial_result(Controller(), trial, result))
        if answers[-1] != TrialScheduler.CONTINUE:
            break
    return answers


@pytest.mark.parametrize("kind", ["asha", "median"])
def test_earlier_trials_are_compared_with_as_if_they_had_just_run(kind: str) -> None:
    config, ran = search(scheduler=kind), 1 if kind == "asha" else 4  # at ASHA's first rung all three wait
    fresh = make_scheduler(config, [], 2)
    fresh.set_search_properties("val_top1", "max")
    for number, top1 in CURVES.items():
        report(fresh, number, top1)
    resumed = make_scheduler(config, [invented(number, *top1[:ran]) for number, top1 in CURVES.items()], 2)
    resumed.set_search_properties("val_top1", "max")
    for number, top1 in enumerate(([0.05] * 4, [0.4, 0.6, 0.7, 0.9], [0.25, 0.25, 0.25, 0.25]), 3):
        assert report(resumed, number, top1) == report(fresh, number, top1)


@pytest.mark.parametrize("kind", ["asha", "hyperband"])
def test_a_trial_that_came_to_its_last_epoch_finishes(kind: str) -> None:
    """A trial that is stopped there would leave no result.json behind."""
    config = search(scheduler={"kind": kind, "grace_epochs": 9}, trials=3)
    scheduler = make_scheduler(config, [invented(number, *[0.9] * 9) for number in (0, 1)], 1)
    assert report(scheduler, 2, [0.0] * 9) == [TrialScheduler.CONTINUE] * 9


def test_a_population_changes_nothing_about_a_trial_at_its_end() -> None:
    """It would end with settings that nothing was trained with."""
    kind = {"kind": "pbt", "grace_epochs": 9, "quantile": 0.5}
    config = search(scheduler=kind, searcher="random", trials=2, search={"optimize.lr": [0.1, 0.2]})
    scheduler: Any = make_scheduler(config, [], 2)
    scheduler.set_search_properties("val_top1", "max")
    tune = Controller()
    for value in (0.9, 0.0):
        tune.trials.append(trial := Trial("trial", stub=True))
        scheduler.on_trial_add(tune, trial)
        result = {TIME: 9, "val_top1": value, "is_last": True}
        assert scheduler.on_trial_result(tune, trial, result) == TrialScheduler.CONTINUE


def test_paused_trials_take_no_place_and_the_best_goes_on_before_a_new_one() -> None:
    scheduler: Any = make_scheduler(search(scheduler="asha"), [], 1)
    tune = Controller()
    tune.scheduler = scheduler
    for number, value in enumerate([0.2, 0.6, 0.1]):
        assert scheduler.may_begin()
        tune.trials.append(trial := TuneTrial(number))
        scheduler.on_trial_add(tune, trial)
        assert not scheduler.may_begin() and scheduler.choose_trial_to_run(tune) is None
        verdict = scheduler.on_trial_result(tune, trial, {TIME: 1, "val_top1": value, "is_last": False})
        assert verdict == TrialScheduler.PAUSE
        trial.status = "PAUSED"
    assert not scheduler.may_begin()
    chosen = scheduler.choose_trial_to_run(tune)
    assert chosen is tune.trials[1] and not scheduler.may_begin()
    chosen.status = "PENDING"
    assert scheduler.choose_trial_to_run(tune) is chosen  # Tune asks until it runs


def test_when_no_more_come_those_without_a_chance_are_stopped() -> None:
    scheduler: Any = make_scheduler(search(scheduler={"kind": "hyperband", "reduction_factor": 2}), [], 3)
    tune = Controller(is_finished=True)
    tune.scheduler, tune.trials = scheduler, [TuneTrial(number) for number in range(3)]
    for trial, value in zip(tune.trials, [0.2, None, 0.6], strict=True):
        scheduler.on_trial_add(tune, trial)
        result = {TIME: 1, "is_last": False} | ({} if value is None else {"val_top1": value})
        assert scheduler.on_trial_result(tune, trial, result) == TrialScheduler.PAUSE
        trial.status = "PAUSED"
    assert scheduler.choose_trial_to_run(tune) is tune.trials[2]
    assert [trial.status for trial in tune.trials] == ["TERMINATED", "TERMINATED", "PAUSED"]


def test_a_loss_is_better_where_it_is_lower() -> None:
    assert (mode("val_top1"), mode("val_loss"), mode("latency_ms")) == ("max", "min", "min")
    config = search(scheduler={"kind": "asha", "reduction_factor": 2}, objective="val_loss", trials=2)
    scheduler: Any = make_scheduler(config, [], 2)
    for number, (loss, verdict) in enumerate([(0.9, TrialScheduler.PAUSE), (0.5, TrialScheduler.CONTINUE)]):
        scheduler.on_trial_add(Controller(), TuneTrial(number))
        result = {TIME: 1, "val_loss": loss, "is_last": False}
        assert scheduler.on_trial_result(Controller(), TuneTrial(number), result) == verdict
