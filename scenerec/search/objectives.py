"""What a search may go by: the validation metrics of a task, and what a network has before it has learned anything."""

from collections.abc import Callable

from scenerec.training.metric import Metric
from scenerec.training.task import CLASSIFICATION, METRICS

OBJECTIVES = {
    **METRICS,
    "parameters": Metric("parameters", "parameters", "parameters"),
    "gflops": Metric("gflops", "GFLOPs"),
    "latency_ms": Metric("latency_ms", "latency", "ms"),
}
"""Every objective of `config.tune.Objective`, by its key."""


def epoch_metric(objective: str) -> str:
    """Key of the validation metric by which an epoch is judged: the objective, or top-1 for what no epoch changes."""
    return objective if objective in METRICS else CLASSIFICATION.best.key


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
    """Labels of the ticks of an axis on which values differ by `spread`."""
    unit = OBJECTIVES[objective].unit
    if unit == "share":
        digits = 0 if spread >= 0.04 else 1 if spread >= 0.004 else 2
        return lambda value: f"{100 * value:.{digits}f}%"
    if unit == "parameters":
        return lambda value: f"{value / 1e6:g}M"
    return lambda value: f"{value:g}"
