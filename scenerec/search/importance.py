"""How much each parameter of a search has to do with how good its trials are."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from scenerec.config.space import Parameter
from scenerec.config.tune import TuneConfig
from scenerec.search.objectives import towards_better
from scenerec.search.trial import Trial

FEWEST_TRIALS = 4
_TRIALS_A_GROUP = 15
_FEWEST_GROUPS, _MOST_GROUPS = 3, 6  # of the values of a range
_TRIALS_A_PARAMETER = 10


@dataclass(frozen=True)
class Importance:
    """Shares that sum to 1, or why there are none."""

    trials: int
    """Trials that have a value."""
    shares: dict[str, float] = field(default_factory=dict)
    """Share of each field, the greatest first."""
    reason: str | None = None
    """Why `shares` is empty."""

    @property
    def is_rough(self) -> bool:
        """Whether the trials are so few that the order may be chance."""
        return self.trials < _TRIALS_A_PARAMETER * len(self.shares)


def importance(config: TuneConfig, trials: Sequence[Trial]) -> Importance:
    """The share of each parameter in what explains the trials' places by the first objective.

    It is the main effect of a functional ANOVA (Hutter, Hoos, Leyton-Brown, ICML 2014), of ranks as in Kruskal and
    Wallis (1952), taken from the trials themselves: the variance between groups of trials with like values, less what
    chance would give such groups (omega squared, Hays 1963). A parameter's absence, in trials that do not meet its
    condition, is a value of its own. Who reached a higher level of resolution or data is better than all who did not.

    PED-ANOVA, Optuna's own, compares the best trials alone with all: of the tens that a search has, those are few.
    """
    scored = [(trial, score) for trial in trials if (score := _score(config.objective[0], trial)) is not None]
    if len(scored) < FEWEST_TRIALS:
        return Importance(len(scored), reason=f"needs {FEWEST_TRIALS} trials with a value, there are {len(scored)}")
    ranks = _ranks([score for _, score in scored])
    if len(set(ranks)) == 1:
        return Importance(len(scored), reason="all trials came to the same value")
    effects = {
        name: _effect(_groups(parameter, [trial.point.get(name) for trial, _ in scored]), ranks)
        for name, parameter in config.search.items()
    }
    total = sum(effects.values())
    if not total:
        return Importance(len(scored), reason="no parameter stands out from chance yet")
    ordered = sorted(effects.items(), key=lambda each: -each[1])
    return Importance(len(scored), {name: effect / total for name, effect in ordered})


def _score(objective: str, trial: Trial) -> tuple[int, float] | None:
    value = trial.value(objective)
    return None if value is None else (trial.level, towards_better(objective, value))


def _ranks(scores: Sequence[Any]) -> list[float]:
    """Places from the lowest; equal ones share the mean of theirs."""
    ordered = sorted(scores)
    return [(bisect_left(ordered, score) + bisect_right(ordered, score) - 1) / 2 for score in scores]


def _groups(parameter: Parameter, values: Sequence[Any]) -> list[list[int]]:
    """Places of the trials with like values: those of one choice, and as many of each part of a range."""
    wanted = min(max(len(values) // _TRIALS_A_GROUP, _FEWEST_GROUPS), _MOST_GROUPS)
    present = [place for place, value in enumerate(values) if value is not None]
    groups: dict[Any, list[int]] = {"absent": [place for place, value in enumerate(values) if value is None]}
    if parameter.values is not None and (parameter.choice is not None or len(parameter.values) <= wanted):
        for place in present:
            groups.setdefault(repr(values[place]), []).append(place)
    else:
        ordered = sorted(values[place] for place in present)
        for place in present:  # by where the first equal value stands: equal values stay together
            groups.setdefault(bisect_left(ordered, values[place]) * wanted // len(ordered), []).append(place)
    return [members for members in groups.values() if members]


def _effect(groups: Sequence[Sequence[int]], ranks: Sequence[float]) -> float:
    """Omega squared, no less than 0: the share of the ranks' variance that lies between the groups."""
    free = len(ranks) - len(groups)
    if len(groups) == 1 or not free:
        return 0.0
    mean = fmean(ranks)
    total = sum((rank - mean) ** 2 for rank in ranks)
    between = sum(len(group) * (fmean(ranks[place] for place in group) - mean) ** 2 for group in groups)
    chance = (total - between) / free
    return max((between - (len(groups) - 1) * chance) / (total + chance), 0.0)
