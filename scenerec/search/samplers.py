"""Who proposes the next point of a search: at random, by a grid, or by Optuna's TPE. All go on from recorded trials."""

import random
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, Protocol

from scenerec.search import space
from scenerec.search.space import Parameter, Point
from scenerec.search.trial import Trial
from scenerec.tune_config import MAXIMISED, TuneConfig

if TYPE_CHECKING:
    import optuna

_TRIES_FOR_A_NEW_POINT = 100


class Sampler(Protocol):
    """Proposes points by number, and is told what became of them."""

    def propose(self, number: int) -> Point | None:
        """The point of trial `number`, None where the space has no more."""

    def tell(self, trial: Trial) -> None:
        """Takes note of a trial: one that has ended, or one of an earlier session that goes on."""


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


class RandomSampler:
    """Each point by seed and number alone; one that was there before is drawn again."""

    def __init__(self, config: TuneConfig) -> None:
        self.config = config
        self.base = config.base_values
        self.known: set[str] = set()

    def propose(self, number: int) -> Point | None:
        """See Sampler."""
        for attempt in range(_TRIES_FOR_A_NEW_POINT):
            rng = random.Random(f"{self.config.seed}/{number}/{attempt}")
            point = space.random_point(self.config.search, self.base, rng)
            if repr(point) not in self.known:
                self.known.add(repr(point))
                return point
        return None

    def tell(self, trial: Trial) -> None:
        """See Sampler."""
        self.known.add(repr(trial.point))


class GridSampler:
    """Every point of the space, in order."""

    def __init__(self, config: TuneConfig) -> None:
        self.config = config

    def propose(self, number: int) -> Point | None:
        """See Sampler."""
        return next(islice(space.grid(self.config.search, self.config.base_values), number, None), None)

    def tell(self, trial: Trial) -> None:
        """See Sampler: a grid does not learn."""


class TpeSampler:
    """The tree-structured Parzen estimator of Optuna, multivariate and conditional (Bergstra et al. 2011).

    With several objectives it is the multi-objective one (Ozaki et al. 2022). Trials that were stopped early count by
    how far they came, those that run as if they were bad, so that no two search the same place.
    """

    def __init__(self, config: TuneConfig) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.optuna = optuna
        self.config = config
        self.base = config.base_values
        sampler = optuna.samplers.TPESampler(
            multivariate=True,
            group=True,
            constant_liar=True,
            n_startup_trials=first_random_trials(config.trials),
            seed=config.seed,
            warn_independent_sampling=False,
        )
        directions: list[Literal["minimize", "maximize"]] = [
            "maximize" if objective in MAXIMISED else "minimize" for objective in config.objective
        ]
        self.study = optuna.create_study(directions=directions, sampler=sampler)
        self.running: dict[int, optuna.Trial] = {}
        self.known: set[str] = set()

    def propose(self, number: int) -> Point | None:
        """See Sampler."""
        for _ in range(_TRIES_FOR_A_NEW_POINT):
            trial = self.study.ask()
            point = space.build_point(self.config.search, self.base, _suggest(trial))
            if repr(point) not in self.known:
                self.known.add(repr(point))
                self.running[number] = trial
                return point
            self.study.tell(trial, state=self.optuna.trial.TrialState.FAIL)
        return None

    def tell(self, trial: Trial) -> None:
        """See Sampler."""
        self.known.add(repr(trial.point))
        if not trial.is_ended:
            return
        if (asked := self.running.pop(trial.number, None)) is not None:
            self._tell(asked, trial)
        else:
            self.study.add_trial(self._recorded(trial))

    def _tell(self, asked: "optuna.Trial", trial: Trial) -> None:
        state, values, intermediate = self._verdict(trial)
        for epoch, value in intermediate.items():
            asked.report(value, epoch)
        self.study.tell(asked, values, state)

    def _recorded(self, trial: Trial) -> "optuna.trial.FrozenTrial":
        state, values, intermediate = self._verdict(trial)
        return self.optuna.trial.create_trial(
            state=state,
            values=values,
            params={field: _external(self.config.search[field], value) for field, value in trial.point.items()},
            distributions={field: _distribution(self.config.search[field]) for field in trial.point},
            intermediate_values=intermediate,
        )

    def _verdict(self, trial: Trial) -> tuple[Any, list[float] | None, dict[int, float]]:
        """(Optuna's state, values, values by epoch)."""
        states = self.optuna.trial.TrialState
        values = trial.values(self.config.objective)
        if values is None:
            return states.FAIL, None, {}
        if trial.state == "finished" or len(self.config.objective) > 1:
            return states.COMPLETE, list(values), {}
        if self.config.budget.by != "epochs":
            return states.PRUNED, None, {trial.level: values[0]}
        objective = self.config.objective[0]
        return states.PRUNED, None, {int(epoch["epoch"]): float(epoch[objective]) for epoch in trial.history}


def first_random_trials(trials: int) -> int:
    """Trials that TPE draws at random before it trusts its model: a third, between 3 and 10."""
    return min(max(trials // 3, 3), 10)


def _suggest(trial: "optuna.Trial") -> space.Choose:
    """Asks Optuna for each value. A choice is asked for by index: its values may be lists."""

    def choose(field: str, parameter: Parameter) -> Any:
        if parameter.choice is not None:
            return parameter.choice[trial.suggest_categorical(field, range(len(parameter.choice)))]
        low, high = parameter.bounds
        if parameter.integer:
            values = parameter.values
            assert values is not None
            return trial.suggest_int(field, int(low), values[-1], step=parameter.step)
        return trial.suggest_float(field, low, high, log=parameter.log_uniform is not None)

    return choose


def _distribution(parameter: Parameter) -> "optuna.distributions.BaseDistribution":
    """What `_suggest` draws from."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if parameter.choice is not None:
        return CategoricalDistribution(range(len(parameter.choice)))
    low, high = parameter.bounds
    if parameter.integer:
        values = parameter.values
        assert values is not None
        return IntDistribution(int(low), values[-1], step=parameter.step)
    return FloatDistribution(low, high, log=parameter.log_uniform is not None)


def _external(parameter: Parameter, value: Any) -> Any:
    """A value as Optuna's parameter has it."""
    return parameter.choice.index(value) if parameter.choice is not None else value
