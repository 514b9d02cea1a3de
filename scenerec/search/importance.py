"""How much each parameter of a search has to do with a trial's being among the best."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

from scenerec.search.trial import Trial, towards_better
from scenerec.tune_config import TuneConfig

FEWEST_TRIALS = 4
_TOP_TRIALS = 5  # the method wants no fewer, if they are not more than half
_TOP_SHARE = 0.1


@dataclass(frozen=True)
class Importance:
    """Shares that sum to 1, or why there are none."""

    trials: int
    """With a value."""
    shares: dict[str, float] = field(default_factory=dict)
    """By field, the greatest first."""
    reason: str | None = None
    """Why `shares` is empty."""

    @property
    def is_rough(self) -> bool:
        """Whether the trials are so few that the order may be chance."""
        return self.trials < 10 * len(self.shares)


def importance(config: TuneConfig, trials: Sequence[Trial]) -> Importance:
    """The importance of each parameter for the first objective, by PED-ANOVA, of which Optuna has the code.

    It compares how the values of a parameter are distributed among the best trials (a tenth, or five of few) and among
    all: Watanabe, Bansal, Hutter, PED-ANOVA, IJCAI 2023 (arXiv:2304.10255), with the extension to parameters that exist
    under a condition only (arXiv:2601.20800). That suits trials which were stopped early: they need only be not among
    the best. Who reached a higher level of resolution or data is better than all who did not.
    """
    scored = [(trial, score) for trial in trials if (score := _score(config.objective[0], trial)) is not None]
    if len(scored) < FEWEST_TRIALS:
        return Importance(len(scored), reason=f"needs {FEWEST_TRIALS} trials with a value, there are {len(scored)}")
    if len({score for _, score in scored}) == 1:
        return Importance(len(scored), reason="all trials came to the same value")
    found = _evaluate(config, scored)
    total = sum(found.values())
    if not total:
        return Importance(len(scored), reason="no parameter was tried at more than one value")
    ordered = sorted(found.items(), key=lambda each: -each[1])
    return Importance(len(scored), {name: value / total for name, value in ordered})


def _score(objective: str, trial: Trial) -> tuple[int, float] | None:
    value = trial.value(objective)
    return None if value is None else (trial.level, towards_better(objective, value))


def _evaluate(config: TuneConfig, scored: list[tuple[Trial, tuple[int, float]]]) -> dict[str, float]:
    """Optuna's figures by field, 0 for what did not vary. Only the trials' order counts: their values are ranks."""
    from optuna.importance import PedAnovaImportanceEvaluator
    from optuna.trial import TrialState

    from scenerec.search.optuna_trials import frozen, make_study

    rank = {score: place for place, score in enumerate(sorted({score for _, score in scored}, reverse=True))}
    records = [frozen(config.search, trial.point, TrialState.COMPLETE, [float(rank[score])]) for trial, score in scored]
    share = min(max(_TOP_SHARE, _TOP_TRIALS / len(scored)), 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a condition that held for one trial only
        found = PedAnovaImportanceEvaluator(target_quantile=share).evaluate(make_study(["rank"], records))
    varied = {name for name in config.search if len({repr(trial.point.get(name)) for trial, _ in scored}) > 1}
    return {name: found.get(name, 0.0) if name in varied else 0.0 for name in config.search}
