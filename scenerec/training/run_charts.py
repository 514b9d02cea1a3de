"""The curves of training runs as geometry: what the report's template draws as SVG. Pure; x goes right, y down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from statistics import fmean

from scenerec.axes import Scale, Tick, epoch_ticks, path, tick_label, value_scale
from scenerec.epoch_metrics import EpochMetrics
from scenerec.step_metrics import StepMetrics
from scenerec.training.metric import Metric
from scenerec.training.task import METRICS

COLOURS = 8
"""So many runs have a colour of their own, those after them are grey."""
MOST_POINTS = 300
"""Of a curve by step; each is the mean over some lines where there are more."""

_FRAME = (560, 300, 62, 548, 14, 262)  # width, height, left, right, top, bottom of a chart
_OTHERS = (
    Metric("train_loss", "training loss"),
    Metric("lr", "learning rate"),
    Metric("images_per_s", "images/s", is_maximised=True),
    Metric("data_wait", "data wait", "share"),
)


_STEP_FIELDS = {"train_loss": "loss", "lr": "lr", "images_per_s": "images_per_s", "data_wait": "data_wait"}

History = Sequence[EpochMetrics]
Lines = Sequence[StepMetrics]


@dataclass(frozen=True)
class Curve:
    """A run's line; where it has one point only, a dot."""

    run: int
    """Number of the run, from 0."""
    colour: int
    """Number of its colour, `COLOURS` for grey."""
    path: str
    """As an SVG path."""
    end: tuple[float, float]
    """Where its newest value lies."""
    last: str
    """Its newest value, in words."""


@dataclass(frozen=True)
class CurveChart:
    """Curves over the epochs, one a run."""

    name: str
    """What is drawn, in words."""
    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    curves: tuple[Curve, ...]


def run_charts(runs: Sequence[tuple[History, Lines]]) -> list[CurveChart]:
    """A chart for each quantity that any run has a finite number of: losses, metrics, speed, waiting.

    Args:
        runs: of each its finished epochs and its lines by step, which are drawn where there are any.
    """
    metrics = (_OTHERS[0], *_validation([history for history, _ in runs]), *_OTHERS[1:])
    return [chart for metric in metrics if (chart := _chart(metric, runs))]


def _validation(histories: Sequence[History]) -> list[Metric]:
    keys = dict.fromkeys(key for history in histories for epoch in history for key in epoch.validation)
    return [
        Metric(metric.key, f"validation {metric.name}", metric.unit) for key in keys if (metric := METRICS.get(key))
    ]


def _chart(metric: Metric, runs: Sequence[tuple[History, Lines]]) -> CurveChart | None:
    lines = {number: found for number, (history, steps) in enumerate(runs) if (found := _line(metric, history, steps))}
    if not lines:
        return None
    values = sorted(value for line in lines.values() for value in line.values())
    first = 0 if min(min(line) for line in lines.values()) < 1 else 1
    x = Scale(first, max(first + 1, *(max(line) for line in lines.values())), _FRAME[2], _FRAME[3])
    is_loss = metric.key.endswith("loss")
    y = value_scale(values, _FRAME[5], _FRAME[4], is_share=metric.unit == "share", may_shoot_up=is_loss)
    curves = [_curve(number, metric, line, x, y) for number, line in lines.items()]
    ticks = y.ticks(tick_label(metric.unit, y.high - y.low))
    return CurveChart(metric.name, *_FRAME, epoch_ticks(x), ticks, tuple(reversed(curves)))


def _line(metric: Metric, history: History, steps: Lines) -> dict[float, float]:
    """The finite values of a quantity by the epochs that were done."""
    by_step: dict[float, float] = {}
    if steps and metric.key in _STEP_FIELDS:
        by_step = _thinned([(line.epochs_done, getattr(line, _STEP_FIELDS[metric.key])) for line in steps])
        history = [epoch for epoch in history if epoch.epoch < steps[0].epoch]  # of an older version
    found = {float(epoch.epoch): epoch.scalars().get(metric.key) for epoch in history}
    return {epoch: value for epoch, value in found.items() if value is not None and isfinite(value)} | by_step


def _thinned(points: Sequence[tuple[float, float]]) -> dict[float, float]:
    """At most MOST_POINTS: means over some that follow each other, where the last of them lies."""
    groups = min(len(points), MOST_POINTS)
    cuts = [index * len(points) // groups for index in range(groups + 1)]
    return {points[end - 1][0]: fmean(value for _, value in points[begin:end]) for begin, end in pairwise(cuts)}


def _curve(number: int, metric: Metric, line: Mapping[float, float], x: Scale, y: Scale) -> Curve:
    points = [(x.at(epoch), y.at(value)) for epoch, value in line.items()]
    end = (round(points[-1][0], 1), round(points[-1][1], 1))
    last = list(line)[-1]
    return Curve(number, min(number, COLOURS), path(points), end, f"{metric.show(line[last])} after epoch {last:.4g}")
