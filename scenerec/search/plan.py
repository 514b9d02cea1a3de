"""A search resolved: what will be tried, how much at once, and everything that can be found wrong before it starts."""

from collections.abc import Sequence
from dataclasses import dataclass

from scenerec.config import space
from scenerec.config.space import Point
from scenerec.config.tune import TuneConfig
from scenerec.errors import CheckpointError, PlanError
from scenerec.search.levels import Level, most_epochs, rung_times, rungs_between, trial_levels
from scenerec.search.trial_store import SearchFolder
from scenerec.training.initial import prepare_weights
from scenerec.training.plan import NodeResources, Plan, room_for
from scenerec.training.run_preflight import check_run


@dataclass(frozen=True)
class SearchPlan:
    """A search that can start."""

    config: TuneConfig
    """The whole of tune.yaml."""
    base: Plan
    """The plan of a trial with the base's values, at the last level."""
    concurrent_trials: int | None
    """Trials at once; None where the cluster was not asked."""
    room: int | None
    """Workers that the cluster holds at once."""
    ended_trials: int
    """Trials that have ended, by the search's folder."""

    def rows(self) -> list[tuple[str, str]]:
        """Rows of (what, value), for people."""
        config = self.config
        points = space.size(config.search, config.base_values)
        rows = [
            ("search", config.run_url),
            ("space", f"{', '.join(config.search)}: {f'{points:,} points' if points else 'infinitely many points'}"),
            ("trials", f"{config.trials}, proposed {SEARCHERS[config.searcher]}, for {_objectives(config)}"),
            ("stopping", describe_scheduler(config)),
            ("at once", self._at_once()),
            *(row for row in self.base.rows() if row[0] in ("teacher", "data", "batch", "BatchNorm")),
            ("budget", f"{config.trials} trials of {most_epochs(config)} epochs at most{self._hours()}"),
            ("results", f"{config.run_url}/report.html, train.yaml, result.json, trials/"),
        ]
        if self.ended_trials:
            rows.append(("resumes", f"after {self.ended_trials} of {config.trials} trials"))
        return rows

    def as_dict(self) -> dict[str, object]:
        """The plan as plain JSON values."""
        return {
            "search": self.config.run_url,
            "fields": list(self.config.search),
            "points": space.size(self.config.search, self.config.base_values),
            "trials": self.config.trials,
            "concurrent_trials": self.concurrent_trials,
            "room": self.room,
            "ended_trials": self.ended_trials,
            "base": self.base.as_dict(),
        }

    def _at_once(self) -> str:
        if self.concurrent_trials is None:
            return "as many trials as the cluster has room for"
        workers, room = self.config.base.scale.max_workers, f", the cluster has room for {self.room}"
        return (
            f"{self.concurrent_trials} trial(s), each with {workers} worker(s) of {self.base.cpus_per_worker} CPU "
            f"and {self.base.gpus_per_worker} GPU{room if self.room is not None else ''}"
        )

    def _hours(self) -> str:
        return f", {self.config.max_hours:g} hours at most" if self.config.max_hours else ""


SEARCHERS = {"random": "at random", "grid": "by a grid", "tpe": "by Optuna's TPE"}
"""Who proposes trials, in words."""


def check_search(config: TuneConfig, nodes: Sequence[NodeResources] | None = None, restart: bool = False) -> SearchPlan:
    """Checks data, output, weights and, where `nodes` are given, the cluster; `restart` forgets earlier trials.

    Raises PlanError, DataError, StorageError, CheckpointError or ModelError, in one line.
    """
    folder = SearchFolder(config.run_url)
    base = _base_level(config)
    plan = check_run(base.config, nodes, restart=True).plan
    for level in trial_levels(config, 0, {})[:-1]:
        check_run(level.config, restart=True)
    for point in _weights_searched(config):
        prepare_weights(trial_levels(config, 0, point)[-1].config, plan.classes)
    for point in _distillations_searched(config):
        check_run(trial_levels(config, 0, point)[-1].config, restart=True)
    ended = 0
    if not restart:
        folder.check_same_search(config)
        ended = sum(trial.is_ended for trial in folder.trials())
        result = folder.read_result()
        has_all = config.retrain is None or "retrained" in (result or {})
        if ended >= config.trials and result is not None and has_all:
            raise CheckpointError(
                f"{folder.url}: this search is over ({ended} trials; `scenerec tune show` has them): give "
                "the new one another name, raise `trials` to go on, or start over with `scenerec submit --restart`"
            )
    at_once = None if nodes is None and config.concurrent_trials == "auto" else trials_at_once(config, nodes or ())
    room = None if nodes is None else room_for(config.base.scale, nodes)
    return SearchPlan(config, plan, at_once, room, ended)


def trials_at_once(config: TuneConfig, nodes: Sequence[NodeResources]) -> int:
    """How many trials run side by side: no more than there is room for all their workers, and at least one.

    Trial drivers take no CPU, so that what a trial needs is its workers. Where not one has room, because the cluster is
    not known or has still to grow, a number that the config names counts as it is; PlanError where it names none.
    """
    scale, wanted = config.base.scale, config.concurrent_trials
    room = room_for(scale, nodes)
    if room < scale.min_workers and wanted == "auto":
        raise PlanError(
            f"base.scale.workers: {scale.min_workers} workers of {scale.cpus_per_worker} CPU and "
            f"{scale.gpus_per_worker} GPU each: the cluster has room for {room}: lower them, or name "
            "concurrent_trials where the cluster grows by itself"
        )
    fitting = max(1, room // scale.max_workers) if room >= scale.min_workers else config.trials
    return min(fitting, config.trials, *([] if wanted == "auto" else [wanted]))


def describe_scheduler(config: TuneConfig) -> str:
    """What stops trials early, in words."""
    scheduler, epochs = config.scheduler, most_epochs(config)
    unit = "epochs"
    if config.budget.by != "epochs":
        shares = ", ".join(f"{share:.0%}" for share in config.budget.levels)
        unit = f"levels of {'image size' if config.budget.by == 'resolution' else 'the training shards'}: {shares}"
    first, last = rung_times(config, epochs)
    match scheduler.kind:
        case "none":
            return f"none: every trial runs all its {unit}"
        case "median":
            return f"what stays below the median of the others, after {first} {unit}"
        case "pbt":
            return (
                f"none: every {scheduler.grace_epochs} epochs the lowest {scheduler.quantile:.0%} go on from copies "
                "of the top, with changed settings"
            )
        case kind:
            name = "asynchronous successive halving" if kind == "asha" else "HyperBand"
            if config.budget.by != "epochs":
                return f"{name}: one in {scheduler.reduction_factor} goes on to the next of the {unit}"
            rungs = ", ".join(map(str, rungs_between(first, last, scheduler.reduction_factor)))
            least = f", {scheduler.finalists} at least" if kind == "asha" and scheduler.finalists > 1 else ""
            return (
                f"{name}: after epoch {rungs} one in {scheduler.reduction_factor} goes on{least}; others wait or stop"
            )


def _base_level(config: TuneConfig) -> Level:
    try:
        return trial_levels(config, 0, {})[-1]
    except ValueError as error:
        raise PlanError(f"base: {error}") from None


def _weights_searched(config: TuneConfig) -> list[Point]:
    """A point for each architecture and weights that trials may begin with."""
    archs = config.search["model.arch"].choice if "model.arch" in config.search else None
    weights = config.search["model.weights"].choice if "model.weights" in config.search else None
    points = []
    for arch in archs or (config.base.model.arch,):
        for name in weights or (config.base.model.weights,):
            point = {"model.arch": arch, "model.weights": name}
            if name != "none" and _is_possible(config, point):
                points.append(point)
    return points


def _distillations_searched(config: TuneConfig) -> list[Point]:
    """A point for each teacher, and for the least weight, which may be the only one that reads labels."""
    points: list[Point] = []
    for field, most in (("optimize.distill.teacher", None), ("optimize.distill.weight", 1)):
        values = config.search[field].samples if field in config.search else ()
        points += [{field: value} for value in sorted(values)[:most] if _is_possible(config, {field: value})]
    return points


def _is_possible(config: TuneConfig, point: Point) -> bool:
    """Whether the values go together; a trial of others is refused when it is proposed."""
    try:
        trial_levels(config, 0, point)
    except ValueError:
        return False
    return True


def _objectives(config: TuneConfig) -> str:
    return ", ".join(config.objective) + (" (Pareto front)" if len(config.objective) > 1 else "")
