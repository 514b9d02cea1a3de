"""Ray Tune's schedulers, by the search's config. Those that compare are told of an earlier session's trials."""

import random
from collections.abc import Iterator
from dataclasses import asdict
from math import inf
from typing import Any

from ray.tune import schedulers
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial as TuneTrial
from typing_extensions import override

from jobs.halving import HalvingScheduler
from jobs.ray_private import recall_results
from jobs.trial import bookmark_of
from scenerec.config import space
from scenerec.config.tune import TuneConfig
from scenerec.json_object import JsonObject
from scenerec.search.halving import asynchronous, hyperband
from scenerec.search.levels import halving_rungs, most_epochs, rung_time, rung_times
from scenerec.search.objectives import OBJECTIVES, towards_better
from scenerec.search.relay import begin_part
from scenerec.search.trial import Trial

TIME = "rung_time"


class _Population(schedulers.PopulationBasedTraining):
    """Population based training that leaves a trial alone at its end, and copies weights when it decides to.

    Ray's own gives changed settings to a trial that was among the worst at its last epoch, too: it ended with settings
    that nothing was trained with. And a trial reads the other's checkpoint when it is its turn again: by then the other
    may have gone on and deleted it, or have come to its end.
    """

    def __init__(self, search: TuneConfig, **settings: Any) -> None:
        super().__init__(**settings)
        self._search = search

    @override
    def _exploit(self, tune_controller: TuneController, trial: TuneTrial, trial_to_clone: TuneTrial) -> None:
        super()._exploit(tune_controller, trial, trial_to_clone)
        settings = trial.config["trial"]
        copy = begin_part(self._search, int(str(trial)), settings["point"], bookmark_of(trial.checkpoint))
        trial.set_config({**trial.config, "trial": {**settings, "part": copy.part, "copy": asdict(copy)}})

    @override
    def on_trial_result(self, tune_controller: TuneController, trial: TuneTrial, result: JsonObject) -> str:
        if result["is_last"]:
            return schedulers.TrialScheduler.CONTINUE
        return super().on_trial_result(tune_controller, trial, result)


def make_scheduler(config: TuneConfig, earlier: list[Trial], at_once: int) -> schedulers.TrialScheduler:
    """The config's scheduler; `earlier` are the trials that have ended before this session.

    `at_once`: trials that there is room for; successive halving keeps to it itself, the others by Tune's own limit.
    """
    match config.scheduler.kind:
        case "asha" | "hyperband":
            return _halving(config, earlier, at_once)
        case "median":
            return _median(config, earlier)
        case "pbt":
            return _pbt(config)
        case _:
            return schedulers.FIFOScheduler()


def mode(objective: str) -> str:
    """Tune's word for which values are better."""
    return "max" if OBJECTIVES[objective].is_maximised else "min"


def results(config: TuneConfig, trial: Trial) -> list[dict[str, float]]:
    """What a trial once reported: (time, value) of each epoch, or of its newest level."""
    objective = config.objective[0]
    if config.budget.by != "epochs":
        value = trial.value(objective)
        return [] if value is None else [{TIME: rung_time(config, trial.level), objective: value}]
    return [{TIME: epoch.epoch, objective: value} for epoch, value in trial.curve(objective)]


def _halving(config: TuneConfig, earlier: list[Trial], at_once: int) -> HalvingScheduler:
    rungs, factor, objective = halving_rungs(config), config.scheduler.reduction_factor, config.objective[0]
    if config.scheduler.kind == "asha":
        halving = asynchronous(rungs, factor, config.trials, config.scheduler.finalists)
    else:
        halving = hyperband(rungs, factor, config.trials)
    for trial in (trial for trial in earlier if trial.state != "refused"):
        halving.recall(trial.number, _reached(config, trial))
    return HalvingScheduler(halving, objective, TIME, at_once)


def _reached(config: TuneConfig, trial: Trial) -> Iterator[tuple[float, float]]:
    """What a trial once stood at: (time, its best value so far, towards better)."""
    best = -inf
    for level in range(1, trial.level if config.budget.by != "epochs" else 1):
        yield rung_time(config, level), inf  # only the newest level is on record: it was among the best of those before
    for result in results(config, trial):
        best = max(best, towards_better(config.objective[0], result[config.objective[0]]))
        yield result[TIME], best


def _median(config: TuneConfig, earlier: list[Trial]) -> schedulers.TrialScheduler:
    first, _ = rung_times(config, most_epochs(config))
    scheduler = schedulers.MedianStoppingRule(time_attr=TIME, grace_period=first, min_samples_required=2)
    for trial in earlier:
        if told := results(config, trial):
            recall_results(scheduler, f"earlier-{trial.number}", told)
    return scheduler


def _pbt(config: TuneConfig) -> schedulers.TrialScheduler:
    rng = random.Random(f"{config.seed}/pbt")
    base = config.base_values

    def explore(settings: JsonObject) -> JsonObject:
        point = space.perturb(config.search, base, settings["trial"]["point"], rng)
        return {**settings, "trial": {**settings["trial"], "point": point}}

    return _Population(
        config,
        time_attr=TIME,
        perturbation_interval=config.scheduler.grace_epochs,
        quantile_fraction=config.scheduler.quantile,
        custom_explore_fn=explore,
        log_config=False,
    )
