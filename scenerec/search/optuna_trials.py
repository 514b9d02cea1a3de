"""A search's trials as Optuna's, for its TPE sampler: the same parameters, distributions and values."""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from scenerec.config import space
from scenerec.config.space import Parameter, Point
from scenerec.search.objectives import OBJECTIVES

optuna.logging.set_verbosity(optuna.logging.ERROR)


def make_study(
    objectives: Sequence[str], trials: Iterable[FrozenTrial] = (), sampler: optuna.samplers.BaseSampler | None = None
) -> optuna.Study:
    """An Optuna study of these trials, in memory, with the direction of each objective."""
    directions: list[Literal["minimize", "maximize"]] = [
        "maximize" if OBJECTIVES[objective].is_maximised else "minimize" for objective in objectives
    ]
    study = optuna.create_study(directions=directions, sampler=sampler)
    study.add_trials(trials)
    return study


def tpe_sampler(seed: int, random_trials: int) -> optuna.samplers.TPESampler:
    """Optuna's multivariate TPE, whose first `random_trials` are random; `group` is for conditional parameters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            multivariate=True, group=True, constant_liar=True, n_startup_trials=random_trials, seed=seed
        )


def frozen(
    parameters: space.Space,
    point: Point,
    state: TrialState,
    values: Sequence[float] | None = None,
    reached: tuple[int, float] | None = None,
) -> FrozenTrial:
    """An Optuna trial at `point`; one that was pruned has `reached` (how far it came, its value there)."""
    return optuna.trial.create_trial(
        state=state,
        values=values,
        params={field: _external(parameters[field], value) for field, value in point.items()},
        distributions={field: _distribution(parameters[field]) for field in point},
        intermediate_values=dict([reached]) if reached else None,
    )


def suggest(trial: optuna.Trial) -> space.Choose:
    """A chooser of the values of a point, which asks Optuna for each."""

    def choose(field: str, parameter: Parameter) -> Any:
        distribution = _distribution(parameter)
        if isinstance(distribution, CategoricalDistribution):
            assert parameter.choice is not None
            index: Any = trial.suggest_categorical(field, distribution.choices)
            return parameter.choice[index]
        if isinstance(distribution, IntDistribution):
            return trial.suggest_int(field, distribution.low, distribution.high, step=distribution.step)
        assert isinstance(distribution, FloatDistribution)
        return trial.suggest_float(field, distribution.low, distribution.high, log=distribution.log)

    return choose


def _distribution(parameter: Parameter) -> BaseDistribution:
    """The distribution of a parameter; a choice's is over its places, as values may be lists, which Optuna refuses."""
    if parameter.choice is not None:
        return CategoricalDistribution(range(len(parameter.choice)))
    if parameter.integer:
        values = parameter.values
        assert values is not None
        return IntDistribution(values[0], values[-1], step=parameter.step)
    low, high = parameter.bounds
    return FloatDistribution(low, high, log=parameter.log_uniform is not None)


def _external(parameter: Parameter, value: Any) -> Any:
    """A value as Optuna's parameter has it."""
    return parameter.choice.index(value) if parameter.choice is not None else value
