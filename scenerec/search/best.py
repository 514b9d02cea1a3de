"""What a search recommends: its best trial, as a training job of its own."""

from collections.abc import Sequence

from scenerec.config.run import RunConfig
from scenerec.config.tune import TuneConfig
from scenerec.search.standing import leaderboard
from scenerec.search.trial import Trial

_LONGEST_NAME = 63


def best_trial(config: TuneConfig, trials: Sequence[Trial]) -> Trial | None:
    """The trial that leads, by the first objective; None where no trial has a value."""
    return next((trial for trial in leaderboard(trials, config.objective) if trial.values(config.objective)), None)


def best_config(config: TuneConfig, trial: Trial, suffix: str = "best") -> RunConfig:
    """A trial's settings as a job in full, beside the search, called NAME-`suffix`.

    Its epochs are those of `retrain`, else the trial's. Raises ValueError, in one line, for a trial that was refused.
    """
    point = trial.point
    if config.retrain is not None and config.retrain.epochs is not None:
        point = {**point, "optimize.epochs": config.retrain.epochs}
    name = f"{config.name[: _LONGEST_NAME - len(suffix) - 1]}-{suffix}"
    return config.trial_config(point, name, config.output)
