"""What a search may go by: the validation metrics of a task, and what a network has before it has learned anything."""

from collections.abc import Callable, Collection

from scenerec import axes
from scenerec.training.metric import Metric
from scenerec.training.task import CLASSIFICATION, KNN, METRICS, TASKS

OBJECTIVES = {
    **{metric.key: metric for task in TASKS.values() for metric in task.metrics},
    KNN.key: KNN,
    "parameters": Metric("parameters", "parameters", "parameters"),
    "gflops": Metric("gflops", "GFLOPs"),
    "latency_ms": Metric("latency_ms", "latency", "ms"),
}
"""Every objective of `config.tune.Objective`, by its key."""


def epoch_metric(objective: str, measured: Collection[str]) -> str:
    """Key of the validation metric by which an epoch is judged, of those that were measured.

    The objective, or for what no epoch changes that by which its best epoch is chosen, such as top-1.
    """
    bests = (key for key in (*(task.best.key for task in TASKS.values()), KNN.key) if key in measured)
    return objective if objective in METRICS else next(bests, CLASSIFICATION.best.key)


def towards_better(objective: str, value: float) -> float:
    """The value, with its sign changed where less is better: more is better then."""
    return OBJECTIVES[objective].towards_better(value)


def format_value(objective: str, value: float | None) -> str:
    """`84.21%` for an accuracy, `1.234` for a loss, `5.3M` for parameters; "-" for none."""
    return OBJECTIVES[objective].show(value)


def axis_name(objective: str) -> str:
    """The objective in words, with its unit where its ticks do not say it."""
    metric = OBJECTIVES[objective]
    return f"{metric.name}, ms" if metric.unit == "ms" else metric.name


def tick_label(objective: str, spread: float) -> Callable[[float], str]:
    """Labels of the ticks of an axis on which values of the objective differ by `spread`."""
    return axes.tick_label(OBJECTIVES[objective].unit, spread)
