"""The curves of training runs as geometry: what the report's template draws as SVG. Pure; x goes right, y down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from scenerec.axes import Scale, Tick, epoch_ticks, path, tick_label, value_scale
from scenerec.epoch_metrics import EpochMetrics
from scenerec.training.metric import Metric
from scenerec.training.task import METRICS

COLOURS = 8
"""So many runs have a colour of their own, those after them are grey."""

_FRAME = (560, 300, 62, 548, 14, 262)  # width, height, left, right, top, bottom of a chart
_OTHERS = (
    Metric("train_loss", "training loss"),
    Metric("lr", "learning rate"),
    Metric("images_per_s", "images/s", is_maximised=True),
    Metric("data_wait", "data wait", "share"),
)


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
    """Where its newest epoch lies."""
    last: str
    """The value of its newest epoch, in words."""


@dataclass(frozen=True)
class CurveChart:
    """Lines over the epochs, one a run."""

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


def run_charts(runs: Sequence[Sequence[EpochMetrics]]) -> list[CurveChart]:
    """A chart for each quantity that any of the histories has a finite number of: losses, metrics, speed, waiting."""
    metrics = (_OTHERS[0], *_validation(runs), *_OTHERS[1:])
    return [chart for metric in metrics if (chart := _chart(metric, runs))]


def _validation(runs: Sequence[Sequence[EpochMetrics]]) -> list[Metric]:
    keys = dict.fromkeys(key for history in runs for epoch in history for key in epoch.validation)
    return [
        Metric(metric.key, f"validation {metric.name}", metric.unit) for key in keys if (metric := METRICS.get(key))
    ]


def _chart(metric: Metric, runs: Sequence[Sequence[EpochMetrics]]) -> CurveChart | None:
    lines = {number: found for number, history in enumerate(runs) if (found := _points(metric.key, history))}
    if not lines:
        return None
    values = sorted(value for line in lines.values() for value in line.values())
    x = Scale(1, max(2, *(max(line) for line in lines.values())), _FRAME[2], _FRAME[3])
    y = value_scale(values, _FRAME[5], _FRAME[4], is_share=metric.unit == "share")
    curves = [_curve(number, metric, line, x, y) for number, line in lines.items()]
    ticks = y.ticks(tick_label(metric.unit, y.high - y.low))
    return CurveChart(metric.name, *_FRAME, epoch_ticks(x), ticks, tuple(reversed(curves)))


def _points(key: str, history: Sequence[EpochMetrics]) -> dict[int, float]:
    """The finite values of a quantity by epoch."""
    found = {epoch.epoch: epoch.scalars().get(key) for epoch in history}
    return {epoch: value for epoch, value in found.items() if value is not None and isfinite(value)}


def _curve(number: int, metric: Metric, line: Mapping[int, float], x: Scale, y: Scale) -> Curve:
    points = [(x.at(epoch), y.at(value)) for epoch, value in line.items()]
    end = (round(points[-1][0], 1), round(points[-1][1], 1))
    last = list(line)[-1]
    return Curve(number, min(number, COLOURS), path(points), end, f"{metric.show(line[last])} after epoch {last}")
