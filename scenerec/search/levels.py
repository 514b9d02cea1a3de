"""What a trial trains, rung by rung: one run that is stopped early, or a run at each level of resolution or data."""

from collections.abc import Iterable
from dataclasses import dataclass

from scenerec.config.run import RunConfig
from scenerec.config.space import Point
from scenerec.config.tune import TuneConfig
from scenerec.models.zoo import architecture

_SIZE_STEP_PX = 8


@dataclass(frozen=True)
class Level:
    """One run of a trial."""

    number: int
    """Number of the level, from 1."""
    config: RunConfig
    """The job that the run is, a training or a pretraining."""
    cost: float
    """Cost of one of its epochs, in epochs of the last level."""
    is_last: bool
    """Whether the trial ends with it."""


def trial_levels(tune: TuneConfig, number: int, point: Point, part: int = 0) -> list[Level]:
    """The runs of trial `number`, in order; with `by: epochs` it is one.

    `part` counts the settings that a population has given the trial; each is a run of its own.
    Raises ValueError, in one line, where the values of `point` do not fit each other.
    """
    if tune.budget.by == "epochs":
        name = f"{trial_name(number)}.part-{part}" if part else trial_name(number)
        return [Level(1, _config(tune, point, name), cost=1.0, is_last=True)]
    full = _config(tune, point, trial_name(number))
    return [
        Level(
            index,
            _level_config(tune, point, full, share, f"{trial_name(number)}.level-{index}"),
            _cost(tune, full, share),
            share == 1,
        )
        for index, share in enumerate(tune.budget.levels, 1)
    ]


def trial_name(number: int) -> str:
    """`0003`: the trial's folder below `trials`."""
    return f"{number:04d}"


def rung_times(tune: TuneConfig, epochs: int) -> tuple[int, int]:
    """(first, last) time on the scheduler's clock. It counts epochs; levels are laid on its rungs, which are powers."""
    if tune.budget.by == "epochs":
        return min(tune.scheduler.grace_epochs, epochs), epochs
    return 1, rung_time(tune, len(tune.budget.levels))


def rung_time(tune: TuneConfig, level: int) -> int:
    """The scheduler's time after `level` (from 1) of a trial with levels."""
    return int(tune.scheduler.reduction_factor ** (level - 1))


def rungs_between(first: int, last: int, factor: int) -> list[int]:
    """first, first x factor, ... below `last`; `first` at least."""
    rungs = [first]
    while rungs[-1] * factor < last:
        rungs.append(rungs[-1] * factor)
    return rungs


def halving_rungs(tune: TuneConfig) -> tuple[float, ...]:
    """Times, on the scheduler's clock, at which successive halving judges: all but that of a trial's end."""
    first, last = rung_times(tune, most_epochs(tune))
    return tuple(rungs_between(first, last, tune.scheduler.reduction_factor))


def judged_epochs(tune: TuneConfig, epochs: int) -> tuple[int, ...]:
    """Epochs of a run of so many after which the scheduler may end it: training waits there for its word."""
    if tune.budget.by != "epochs" or tune.scheduler.kind == "none":
        return ()
    judged: Iterable[float] = halving_rungs(tune)
    if tune.scheduler.kind in ("median", "pbt"):
        judged = range(*rung_times(tune, most_epochs(tune)))
    return tuple(int(epoch) for epoch in judged if epoch < epochs)


def most_epochs(tune: TuneConfig) -> int:
    """Epochs of the longest possible trial, in one level."""
    parameter = tune.search.get("optimize.epochs")
    return int(max(parameter.values or parameter.samples)) if parameter else tune.base.optimize.epochs


def _config(tune: TuneConfig, point: Point, name: str) -> RunConfig:
    """All runs of a search lie side by side: they share the weights that were downloaded for the first.

    Each keeps its newest checkpoint and its best: there are many of them.
    """
    return tune.trial_config({**point, "checkpoint.keep": 1}, name, f"{tune.run_url}/trials")


def _level_config(tune: TuneConfig, point: Point, full: RunConfig, share: float, name: str) -> RunConfig:
    if tune.budget.by == "resolution":
        sizes = {f"data.{field}": getattr(full.data, field) for field in ("image_size", "train_size")}
        smaller = {field: _scaled(size, full, share) for field, size in sizes.items() if size is not None}
        return _config(tune, {**point, **smaller}, name)
    return _config(tune, {**point, "data.train_share": share * full.data.train_share}, name)


def _scaled(size: int, full: RunConfig, share: float) -> int:
    """The share of an image's side, in steps that networks like, and no less than the architecture takes."""
    arch = architecture(full.model.arch)
    if share == 1 or arch.fixed_image_size:
        return size
    wanted = round(size * share / _SIZE_STEP_PX) * _SIZE_STEP_PX
    return min(max(wanted, arch.min_image_size, 16), size)


def _cost(tune: TuneConfig, full: RunConfig, share: float) -> float:
    if tune.budget.by == "data":
        return share
    return float((_scaled(full.data.training_size, full, share) / full.data.training_size) ** 2)
