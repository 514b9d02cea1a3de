"""The charts of a search's report as geometry: what the template draws as SVG. Pure; x goes right, y goes down."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from scenerec.axes import Scale, Tick, epoch_ticks, path, value_scale
from scenerec.config.space import describe_point
from scenerec.config.tune import STATIC
from scenerec.search.objectives import OBJECTIVES, axis_name, tick_label
from scenerec.search.trial import Trial

MOST_LINES = 300
"""So many trials are drawn, else a page of a large search would be slow."""

_FRAME = (560, 372, 62, 548, 14, 330)  # width, height, left, right, top, bottom of a chart


@dataclass(frozen=True)
class Mark:
    """What stands for a trial: a line, a point, or a line that ends in a point."""

    trial: int
    kind: str
    """CSS class: best, front, stopped, running, failed or other."""
    title: str
    path: str = ""
    """Its line, as an SVG path."""
    x: float | None = None
    y: float | None = None


@dataclass(frozen=True)
class Chart:
    """Marks between two axes, those that matter most last: they lie on top."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    x_name: str
    y_name: str
    marks: tuple[Mark, ...]
    staircase: str = ""
    """Path along the Pareto front."""


def chosen(ranked: Sequence[Trial], most: int = MOST_LINES) -> list[Trial]:
    """The trials of a leaderboard that are drawn: the best half of `most`, and as many evenly from the others."""
    if len(ranked) <= most:
        return list(ranked)
    best, others = ranked[: most // 2], ranked[most // 2 :]
    kept = most - len(best)
    return [*best, *(others[place * len(others) // kept] for place in range(kept))]


def title(trial: Trial, objectives: Sequence[str]) -> str:
    """The words that are shown where one points at a trial."""
    values = [(OBJECTIVES[each], trial.value(each)) for each in objectives]
    known = ", ".join(f"{metric.name} {metric.show(value)}" for metric, value in values if value is not None)
    return f"trial {trial.number}, {trial.state}: {known or trial.reason or 'no value'}\n{describe_point(trial.point)}"


def curves(ranked: Sequence[Trial], objectives: Sequence[str], best: Trial | None) -> Chart | None:
    """The first objective by epoch of each trial of a leaderboard; None where no epoch has ended."""
    key = objectives[0]
    lines = {trial.number: [(epoch.epoch, value) for epoch, value in trial.curve(key)] for trial in ranked}
    drawn = chosen([trial for trial in ranked if lines[trial.number]])
    if not drawn:
        return None
    values = sorted(value for trial in drawn for _, value in lines[trial.number])
    last_epoch = max(epoch for trial in drawn for epoch, _ in lines[trial.number])
    x = Scale(1, max(last_epoch, 2), _FRAME[2], _FRAME[3])
    y = value_scale(values, _FRAME[5], _FRAME[4], is_share=_is_share(key))
    marks = []
    for trial in reversed(drawn):
        points = [(x.at(epoch), y.at(value)) for epoch, value in lines[trial.number]]
        has_dot = trial.state != "finished" or len(points) == 1
        dot = [round(at, 1) for at in points[-1]] if has_dot else []
        marks.append(Mark(trial.number, _kind(trial, best), title(trial, objectives), path(points), *dot))
    return Chart(
        *_FRAME,
        epoch_ticks(x),
        y.ticks(tick_label(key, y.high - y.low)),
        "epoch",
        axis_name(key),
        _leaders_on_top(marks),
    )


def pareto(
    ranked: Sequence[Trial], front: Sequence[Trial], objectives: Sequence[str], other: str, best: Trial | None
) -> Chart | None:
    """The first objective over another one; None where no trial has values."""
    drawn = [(trial, values) for trial in chosen(ranked) if (values := trial.values((objectives[0], other)))]
    if not drawn:
        return None
    across = sorted(values[1] for _, values in drawn)
    x = value_scale(across, _FRAME[2], _FRAME[3], is_share=_is_share(other), may_be_log=other in STATIC)
    y = value_scale(sorted(values[0] for _, values in drawn), _FRAME[5], _FRAME[4], is_share=_is_share(objectives[0]))
    leading = {trial.number for trial in front}
    marks = []
    for trial, values in reversed(drawn):
        place = (round(x.at(values[1]), 1), round(y.at(values[0]), 1))
        marks.append(Mark(trial.number, _kind(trial, best, leading), title(trial, objectives), "", *place))
    return Chart(
        *_FRAME,
        x.ticks(tick_label(other, x.high - x.low)),
        y.ticks(tick_label(objectives[0], y.high - y.low)),
        f"{axis_name(other)}, {'more' if OBJECTIVES[other].is_maximised else 'less'} is better",
        axis_name(objectives[0]),
        _leaders_on_top(marks),
        _staircase(marks) if len(objectives) == 2 else "",
    )


def _staircase(marks: Sequence[Mark]) -> str:
    """Through the front, by steps: what lies between two of its trials is beaten by one of them."""
    corners = sorted((mark.x, mark.y) for mark in marks if mark.kind in ("front", "best") and mark.x and mark.y)
    if len(corners) < 2:
        return ""
    steps = [corners[0]]
    for x, y in corners[1:]:
        steps += [(x, steps[-1][1]), (x, y)]
    return path(steps)


def _is_share(objective: str) -> bool:
    return OBJECTIVES[objective].unit == "share"


def _leaders_on_top(marks: Sequence[Mark]) -> tuple[Mark, ...]:
    """The front after the others, the best last; else in their order."""
    return tuple(sorted(marks, key=lambda mark: {"front": 1, "best": 2}.get(mark.kind, 0)))


def _kind(trial: Trial, best: Trial | None, front: Collection[int] = ()) -> str:
    if best is not None and trial.number == best.number:
        return "best"
    if trial.number in front:
        return "front"
    return "other" if trial.state == "finished" else "failed" if trial.state == "refused" else trial.state
