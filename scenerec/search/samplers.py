"""Who proposes the next point of a search: at random, by a grid, or by Optuna's TPE. All go on from recorded trials.

A proposal depends on the config, its number and the trials that are known by then, and on nothing else: a search that
is resumed proposes what it would have proposed.
"""

import random
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from typing_extensions import override

from scenerec.config import space
from scenerec.config.space import Point
from scenerec.config.tune import TuneConfig
from scenerec.search.trial import Trial

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_TRIES_FOR_A_NEW_POINT = 100
_TRIES_OF_THE_MODEL = 10


class Sampler(Protocol):
    """Proposes points by number, and is told what became of them."""

    def propose(self, number: int) -> Point | None:
        """The point of trial `number`, None where the space has no more."""

    def tell(self, trial: Trial) -> None:
        """Takes note of a trial: one that was paused or has ended, or one of an earlier session that goes on."""


def make_sampler(config: TuneConfig, earlier: Iterable[Trial] = ()) -> Sampler:
    """The config's sampler, which knows of the trials of an earlier session."""
    samplers: dict[str, type[RandomSampler | GridSampler | TpeSampler]] = {
        "random": RandomSampler,
        "grid": GridSampler,
        "tpe": TpeSampler,
    }
    sampler = samplers[config.searcher](config)
    for trial in earlier:
        sampler.tell(trial)
    return sampler


class GridSampler(Sampler):
    """Every point of the space, in order."""

    def __init__(self, config: TuneConfig) -> None:
        self.config = config

    @override
    def propose(self, number: int) -> Point | None:
        return next(islice(space.grid(self.config.search, self.config.base_values), number, None), None)

    @override
    def tell(self, trial: Trial) -> None:
        """A grid does not learn."""


class RandomSampler(Sampler):
    """Each point by seed and number alone; one that was there before is drawn again."""

    def __init__(self, config: TuneConfig) -> None:
        self.config = config
        self.base = config.base_values
        self.known: set[str] = set()

    @override
    def propose(self, number: int) -> Point | None:
        rng = random.Random(f"{self.config.seed}/{number}")
        for _ in range(_TRIES_FOR_A_NEW_POINT):
            point = space.random_point(self.config.search, self.base, rng)
            if self.is_new(point):
                return self.take(point)
        if space.size(self.config.search, self.base) is None:
            return None
        left = [point for point in space.grid(self.config.search, self.base) if self.is_new(point)]
        return self.take(rng.choice(left)) if left else None

    @override
    def tell(self, trial: Trial) -> None:
        self.take(trial.point)

    def is_new(self, point: Point) -> bool:
        """Whether the point was neither proposed nor told of."""
        return space.point_key(point) not in self.known

    def take(self, point: Point) -> Point:
        """Remembers a point, and returns it."""
        self.known.add(space.point_key(point))
        return point


class TpeSampler(Sampler):
    """The tree-structured Parzen estimator of Optuna, multivariate and conditional (Bergstra et al. 2011).

    With several objectives it is the multi-objective one (Ozaki et al. 2022). Trials that were stopped early count by
    how far they came, those that run as if they were bad, so that no two search the same place.
    """

    def __init__(self, config: TuneConfig) -> None:
        self.config = config
        self.base = config.base_values
        self.at_random = RandomSampler(config)
        self.trials: dict[int, FrozenTrial] = {}

    @override
    def propose(self, number: int) -> Point | None:
        """Where the model has nothing new to say, chance has."""
        point = self._model_point(number)
        if point is None:
            point = self.at_random.propose(number)
        if point is not None:
            self.tell(Trial(number=number, point=point, state="running"))
        return point

    @override
    def tell(self, trial: Trial) -> None:
        self.at_random.tell(trial)
        self.trials[trial.number] = self._frozen(trial)

    def _model_point(self, number: int) -> Point | None:
        from optuna.trial import TrialState

        from scenerec.search.optuna_trials import make_study, suggest, tpe_sampler

        seed = random.Random(f"{self.config.seed}/{number}/tpe").randrange(2**32)
        known = [trial for _, trial in sorted(self.trials.items())]
        sampler = tpe_sampler(seed, first_random_trials(self.config.trials))
        study = make_study(self.config.objective, known, sampler)
        for _ in range(_TRIES_OF_THE_MODEL):
            asked = study.ask()
            point = space.build_point(self.config.search, self.base, suggest(asked))
            if self.at_random.is_new(point):
                return point
            study.tell(asked, state=TrialState.FAIL)
        return None

    def _frozen(self, trial: Trial) -> "FrozenTrial":
        from optuna.trial import TrialState

        from scenerec.search.optuna_trials import frozen

        values = trial.values(self.config.objective)
        if trial.state == "running":
            return frozen(self.config.search, trial.point, TrialState.RUNNING)
        if values is None:
            return frozen(self.config.search, trial.point, TrialState.FAIL)
        if trial.state == "finished" or len(values) > 1:  # Optuna has no pruned trials of several objectives
            return frozen(self.config.search, trial.point, TrialState.COMPLETE, values)
        came_to = trial.epochs_done if self.config.budget.by == "epochs" else trial.level
        return frozen(self.config.search, trial.point, TrialState.PRUNED, reached=(came_to, values[0]))


def first_random_trials(trials: int) -> int:
    """Trials that TPE draws at random before it trusts its model: a third, between 3 and 10."""
    return min(max(trials // 3, 3), 10)
