"""tune.yaml as frozen models: what every trial has in common, what is searched, how, and on what budget."""

import random
from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, ValidationError, model_validator

from scenerec.config import space
from scenerec.config.block import Block
from scenerec.config.job import JobConfig, Name
from scenerec.config.numbers import Fraction
from scenerec.config.pretrain import PretrainConfig, PretrainingConfig
from scenerec.config.run import RunConfig
from scenerec.config.space import Parameter, Point
from scenerec.config.train import TrainConfig, TrainingConfig
from scenerec.frozen import first_problem
from scenerec.names import did_you_mean

Objective = Literal[
    "val_top1",
    "val_top5",
    "val_map",
    "val_f1_micro",
    "val_f1_macro",
    "val_knn_top1",
    "val_loss",
    "parameters",
    "gflops",
    "latency_ms",
]

TASK_OBJECTIVES = {
    "classification": ("val_top1", "val_top5", "val_loss"),
    "multilabel": ("val_map", "val_f1_micro", "val_f1_macro", "val_loss"),
}
"""Objectives that the validation of a task measures, the first by which its best epoch is chosen."""

STATIC = frozenset({"parameters", "gflops", "latency_ms"})
"""Objectives that a network has before it has learned anything."""

_TRIES = 200
_IN_THE_MIDST = 0.381966  # share of a range at which no whole number is to be expected

# Where the job runs and how it is saved changes nothing that a trial shows; the rest would make trials incomparable.
_NOT_SEARCHED = (
    *("recipe", "scale.", "checkpoint.", "track.", "probe."),
    *("data.train", "data.val", "data.lanes", "data.decode_processes", "data.cache"),
    *("data.log_samples", "data.store_patience_s", "data.eval_crops"),
)
_SEARCHED_ALL_THE_SAME = ("train_share", "train_size")  # which are called as data.train

# What a network that changes its settings in the middle (PBT) cannot change: its checkpoints would not fit.
_FIXED_IN_A_RUN = (
    *("model.", "optimize.epochs", "optimize.optimizer", "optimize.seed", "optimize.global_batch_size"),
    *("optimize.ema_decay", "optimize.accumulate_steps", "data.train_share", "data.balance", "data.repeats"),
    *("data.mean", "data.std", "data.interpolation"),
    *("optimize.class_weights", "optimize.loss", "optimize.mix", "optimize.distill.teacher", "optimize.distill.arch"),
    *("pretrain.method", "pretrain.projector_", "pretrain.embedding_size", "pretrain.queue", "pretrain.predictor_"),
)

_PRETRAINING_OBJECTIVE: Objective = "val_knn_top1"


def _kind_alone(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


def _without_nothing(value: Any) -> Any:
    return {key: each for key, each in value.items() if each is not None} if isinstance(value, Mapping) else value


def _alone(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _base_kind(base: Any) -> str:
    """The class of a search's base, by what it has: a pretraining says by which method."""
    has_method = "pretrain" in base if isinstance(base, Mapping) else isinstance(base, PretrainingConfig)
    return (PretrainingConfig if has_method else TrainingConfig).__name__


Base = Annotated[
    Annotated[TrainingConfig, Tag(TrainingConfig.__name__)]
    | Annotated[PretrainingConfig, Tag(PretrainingConfig.__name__)],
    Discriminator(_base_kind),
]


class SchedulerConfig(Block):
    """Which trials go on. A name alone, such as `scheduler: asha`, takes the defaults."""

    kind: Literal["none", "asha", "hyperband", "median", "pbt"] = "asha"
    """`none`: every trial runs to its end. `asha`: asynchronous successive halving: a trial waits at each rung until it
    is among the best there. `hyperband`: halving in brackets, each judged when all its trials have come. `median`:
    stops what stays below the median. `pbt`: population based training, where weak trials go on from a copy of a
    strong one with changed settings."""
    grace_epochs: int = Field(1, ge=1)
    """Epochs that every trial gets (with `budget.by` other than epochs: levels). `pbt`: epochs between two changes."""
    reduction_factor: int = Field(3, ge=2)
    """`asha` and `hyperband`: one trial of so many goes on at each rung."""
    finalists: int = Field(1, ge=1)
    """`asha`: at least so many trials run to their end. More than one where the rungs cannot tell the best apart: on a
    small set an epoch's top-1 is off by several points."""
    quantile: float = Field(0.25, gt=0, le=0.5)
    """`pbt`: share of the population that is replaced by copies of as many at the top."""


class BudgetConfig(Block):
    """What a trial's first rungs save."""

    by: Literal["epochs", "resolution", "data"] = "epochs"
    """`epochs`: a trial is one run, stopped after some of its epochs. `resolution`, `data`: a trial is a run for each
    level, from the beginning, on smaller images or on fewer shards first."""
    levels: tuple[Fraction, ...] = (0.5, 1.0)
    """Shares of data.image_size or of the training shards, rising to 1; not for `epochs`."""

    @model_validator(mode="after")
    def _rising(self) -> "BudgetConfig":
        if self.by != "epochs" and (list(self.levels) != sorted(set(self.levels)) or self.levels[-1] != 1):
            raise ValueError("levels: must rise to 1, such as [0.25, 0.5, 1]")
        return self


class RetrainConfig(Block):
    """What becomes of the best config."""

    epochs: int | None = Field(None, ge=1, le=1_000_000)
    """Epochs of the full training; by default those of the best trial's config."""
    export: bool = True
    """Export the trained network as an ONNX bundle."""


class TuneConfig(JobConfig):
    """A search: the whole of tune.yaml."""

    kind: Literal["tune"]
    """What the file describes."""
    name: Name
    """Name of the search; its results go to output/name, its trials to output/name/trials."""
    base: Base
    """What the trials have in common: a training job, or a pretraining, without kind, name and output."""
    search: Annotated[dict[str, Parameter], BeforeValidator(_without_nothing)] = Field(min_length=1)
    """What is searched, by field of `base`, such as optimize.lr: {log_uniform: [0.001, 0.1]}; `null` takes one out."""
    trials: int = Field(ge=1, le=1_000_000)
    """Number of trials; `pbt`: size of the population. More may be given when the search is submitted again."""
    searcher: Literal["random", "grid", "tpe"] = "tpe"
    """Who proposes the next trial. `tpe`: Optuna's multivariate tree-structured Parzen estimator."""
    scheduler: Annotated[SchedulerConfig, BeforeValidator(_kind_alone)] = SchedulerConfig()
    """Which trials are stopped early."""
    objective: Annotated[tuple[Objective, ...], BeforeValidator(_alone), Field(min_length=1)] = ("val_top1",)
    """What is wanted: the highest val_top1, or several such as [val_top1, latency_ms], whose Pareto front is searched.
    The scheduler goes by the first. latency_ms: of one image in onnxruntime on one core; gflops: at data.image_size. Of
    pretrainings val_knn_top1, by base.probe."""
    budget: BudgetConfig = BudgetConfig()
    """What the first rungs of a trial are."""
    concurrent_trials: int | Literal["auto"] = "auto"
    """Trials at once; `auto`: as many as the cluster has room for."""
    max_hours: float | None = Field(None, gt=0)
    """No trial goes on after so many hours."""
    give_up_after: int = Field(5, ge=1)
    """The search ends when so many trials have failed one after the other."""
    retrain: RetrainConfig | None = None
    """Train the best config in full when the search is over; `{}` takes the defaults."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of what is proposed; that of the trials is base.optimize.seed."""

    @model_validator(mode="before")
    @classmethod
    def _objective_of_pretrainings(cls, values: Any) -> Any:
        is_pretraining = isinstance(values, dict) and _base_kind(values.get("base")) == PretrainingConfig.__name__
        return {"objective": [_PRETRAINING_OBJECTIVE], **values} if is_pretraining else values

    @model_validator(mode="after")
    def _consistent(self) -> "TuneConfig":
        _check_fields(self.search, type(self.base))
        _check_conditions(self.search, self.base_values)
        _check_scheduler(self)
        if len(set(self.objective)) < len(self.objective):
            raise ValueError("objective: one stands twice")
        _check_objective(self)
        if self.concurrent_trials != "auto" and self.concurrent_trials < 1:
            raise ValueError("concurrent_trials: must be `auto` or at least 1")
        _check_values(self)
        return self

    @property
    def base_values(self) -> dict[str, Any]:
        """The base's values by field, where conditions look up what is not searched."""
        return space.flatten(self.base.model_dump(mode="json"))

    def trial_config(self, point: Point, name: str, output: str) -> RunConfig:
        """The job at `point`. Raises ValueError, in one line, where its values do not fit each other."""
        document = space.apply_point(self.base.model_dump(mode="json"), point)
        is_pretraining = isinstance(self.base, PretrainingConfig)
        kind: type[RunConfig] = PretrainConfig if is_pretraining else TrainConfig
        named = {"kind": "pretrain" if is_pretraining else "train", "name": name, "output": output}
        try:
            return kind.model_validate({**named, **document})
        except ValidationError as error:
            raise ValueError(first_problem(error)) from None


def searchable_fields(model: type[BaseModel] = TrainingConfig, prefix: str = "") -> Iterator[str]:
    """Yields the fields of a training's or a pretraining's config that a search may vary."""
    for name, field in model.model_fields.items():
        if block := _block(field.annotation):
            yield from searchable_fields(block, f"{prefix}{name}.")
        elif not f"{prefix}{name}".startswith(_NOT_SEARCHED) or name in _SEARCHED_ALL_THE_SAME:
            yield f"{prefix}{name}"


def _block(annotation: Any) -> type[BaseModel] | None:
    """The block that a field holds, always or where it is given; None for a field that may hold something else."""
    kinds = [kind for kind in get_args(annotation) or (annotation,) if kind is not NoneType]
    is_block = len(kinds) == 1 and isinstance(kinds[0], type) and issubclass(kinds[0], BaseModel)
    return kinds[0] if is_block else None


def _check_fields(parameters: space.Space, base: type[BaseModel]) -> None:
    known = list(searchable_fields(base))
    job = "pretraining" if base is PretrainingConfig else "training"
    for field, parameter in parameters.items():
        if field not in known:
            if field.startswith(_NOT_SEARCHED):
                raise ValueError(f"search.{field}: cannot be searched: it changes nothing that trials could show")
            hint = did_you_mean(field, known, cutoff=0.5) or "`scenerec schema` lists them"
            raise ValueError(f"search.{field}: is no field of a {job} job; {hint}")
        for other in parameter.when:
            if other not in parameters and other not in known:
                raise ValueError(f"search.{field}.when: {other} is no field of a {job} job")
    try:
        space.ordered(parameters)
    except ValueError as error:
        raise ValueError(f"search.{error}") from None


def _check_conditions(parameters: space.Space, base: Mapping[str, Any]) -> None:
    """A parameter whose condition never holds was a mistake: nobody would miss it in the results."""
    for field, parameter in parameters.items():
        for other, wanted in parameter.when.items():
            is_possible = parameters[other].may_be if other in parameters else [base.get(other)].__contains__
            if not any(map(is_possible, space.wanted_values(wanted))):
                remedy = f"search.{other} has no such value" if other in parameters else f"base has {base.get(other)!r}"
                raise ValueError(f"search.{field}.when: {other} is never {wanted!r}: {remedy}")


def _check_objective(config: TuneConfig) -> None:
    """The scheduler goes by what each epoch of each trial has."""
    wanted = [objective for objective in config.objective if objective not in STATIC]
    base = config.base
    measured = (_PRETRAINING_OBJECTIVE,) if isinstance(base, PretrainingConfig) else TASK_OBJECTIVES[base.task]
    if config.objective[0] in STATIC:
        raise ValueError(f"objective: {config.objective[0]} alone wants no training: name {measured[0]} first")
    if not isinstance(base, PretrainingConfig):
        if _PRETRAINING_OBJECTIVE in wanted:
            raise ValueError(f"objective: {_PRETRAINING_OBJECTIVE} is of pretrainings: take {measured[0]}")
        if other := next((each for each in wanted if each not in measured), None):
            known = ", ".join(measured)
            raise ValueError(f"objective: task {base.task} does not measure {other}: name some of {known}")
        return
    if other := next((each for each in wanted if each != _PRETRAINING_OBJECTIVE), None):
        reason = "changes with the settings that are searched" if other == "val_loss" else "is of trainings"
        raise ValueError(f"objective: {other} {reason}: take {_PRETRAINING_OBJECTIVE}")
    if base.probe is None:
        raise ValueError("base.probe: is what pretrainings are judged by: name labelled sets there")
    if base.probe.every_epochs != 1:
        raise ValueError("base.probe.every_epochs: each epoch of a trial is judged: leave it out")


def _check_scheduler(config: TuneConfig) -> None:
    if config.searcher == "grid":
        try:
            next(space.grid(config.search, config.base_values))
        except ValueError as error:
            raise ValueError(f"search.{error}, or take `searcher: random`") from None
    if config.scheduler.kind != "pbt":
        return
    if config.budget.by != "epochs":
        raise ValueError("budget.by: population based training goes by epochs")
    if config.searcher != "random":
        raise ValueError("searcher: the first population of pbt is drawn at random: set `searcher: random`")
    if config.trials < 2:
        raise ValueError("trials: a population has at least 2")
    for field in config.search:
        if field.startswith(_FIXED_IN_A_RUN):
            raise ValueError(f"search.{field}: cannot change in the middle of a run, as pbt would: use asha")


def _check_values(config: TuneConfig) -> None:
    """Every value must be possible somewhere in the space: one that never is was a mistake, found before any cost."""
    base = config.base_values
    for field, parameter in config.search.items():
        met: dict[str, Any] = {}  # by what a trial makes of it: 0.1 and 1e-1 are one value, as DEFAULT and its name are
        midst = () if parameter.values is not None else (parameter.at(_IN_THE_MIDST),)
        for value in (*parameter.samples, *midst):
            point = {**_conditions(config.search, field), field: value}
            reason = _refusal(config, point)
            if reason is None:
                trial = config.trial_config(point, "trial", config.output).model_dump_json()
                if parameter.choice is not None and trial in met:
                    raise ValueError(f"search.{field}: {met[trial]!r} and {value!r} are the same: leave one out")
                met[trial] = value
                _check_retrain(config, point)
                continue
            rng = random.Random(f"{config.seed}/{field}")
            drawn = (space.random_point(config.search, base, rng) for _ in range(_TRIES))
            if all(_refusal(config, {**point, field: value}) for point in drawn if field in point):
                raise ValueError(f"search.{field}: {value!r} is never possible: {reason}")


def _check_retrain(config: TuneConfig, point: Point) -> None:
    """The best trial's config must bear the epochs that it is trained for in the end."""
    if config.retrain is not None and config.retrain.epochs is not None:
        reason = _refusal(config, {**point, "optimize.epochs": config.retrain.epochs})
        if reason is not None:
            raise ValueError(f"retrain.epochs: {config.retrain.epochs} with {space.describe_point(point)}: {reason}")


def _conditions(parameters: space.Space, field: str) -> Point:
    """The values under which a parameter exists, the first of each list."""
    point: Point = {}
    for other, wanted in parameters[field].when.items():
        if other in parameters:
            point |= _conditions(parameters, other)
        point[other] = space.wanted_values(wanted)[0]
    return point


def _refusal(config: TuneConfig, point: Point) -> str | None:
    try:
        config.trial_config(point, "trial", config.output)
    except ValueError as error:
        return str(error)
    return None
