"""Ray Tune's schedulers, by the search's config. Those that compare are told of an earlier session's trials."""

import random
from types import SimpleNamespace
from typing import Any

from ray.tune import schedulers

from scenerec.search import space
from scenerec.search.levels import most_epochs, rung_time, rung_times
from scenerec.search.trial import Trial, is_value, towards_better
from scenerec.tune_config import MAXIMISED, TuneConfig

TIME = "rung_time"


def make_scheduler(config: TuneConfig, earlier: list[Trial]) -> schedulers.TrialScheduler:
    """The config's scheduler; `earlier` are the trials that have ended before this session."""
    first, last = rung_times(config, most_epochs(config))
    match config.scheduler.kind:
        case "asha":
            return _asha(config, earlier, first, last)
        case "hyperband":
            return schedulers.HyperBandScheduler(
                time_attr=TIME, max_t=last, reduction_factor=config.scheduler.reduction_factor
            )
        case "median":
            return _median(config, earlier, first)
        case "pbt":
            return _pbt(config)
        case _:
            return schedulers.FIFOScheduler()


def mode(objective: str) -> str:
    """Tune's word for which values are better."""
    return "max" if objective in MAXIMISED else "min"


def results(config: TuneConfig, trial: Trial) -> list[dict[str, float]]:
    """What a trial once reported: (time, value) of each epoch, or of its newest level."""
    objective = config.objective[0]
    if config.budget.by != "epochs":
        value = trial.value(objective)
        return [] if value is None else [{TIME: rung_time(config, trial.level), objective: value}]
    return [
        {TIME: epoch["epoch"], objective: epoch[objective]} for epoch in trial.history if is_value(epoch[objective])
    ]


def _asha(config: TuneConfig, earlier: list[Trial], first: int, last: int) -> schedulers.TrialScheduler:
    """Rungs below the last epoch only: a trial that has come there is finished, whatever the others did."""
    scheduler = schedulers.ASHAScheduler(
        time_attr=TIME,
        max_t=max(first, last - 1),
        grace_period=first,
        reduction_factor=config.scheduler.reduction_factor,
        stop_last_trials=False,
    )
    (bracket,) = scheduler._brackets
    for trial in earlier:
        known = SimpleNamespace(trial_id=f"earlier-{trial.number}")
        for result in results(config, trial):
            value = result[config.objective[0]]
            bracket.on_result(known, result[TIME], towards_better(config.objective[0], value))
    return scheduler


def _median(config: TuneConfig, earlier: list[Trial], first: int) -> schedulers.TrialScheduler:
    scheduler = schedulers.MedianStoppingRule(time_attr=TIME, grace_period=first, min_samples_required=2)
    for trial in earlier:
        if told := results(config, trial):
            scheduler._results[f"earlier-{trial.number}"] = told
    return scheduler


def _pbt(config: TuneConfig) -> schedulers.TrialScheduler:
    rng = random.Random(f"{config.seed}/pbt")
    base = config.base_values

    def explore(settings: dict[str, Any]) -> dict[str, Any]:
        point = space.perturb(config.search, base, settings["trial"]["point"], rng)
        return {**settings, "trial": {**settings["trial"], "point": point}}

    return schedulers.PopulationBasedTraining(
        time_attr=TIME,
        perturbation_interval=config.scheduler.grace_epochs,
        quantile_fraction=config.scheduler.quantile,
        custom_explore_fn=explore,
        log_config=False,
    )
