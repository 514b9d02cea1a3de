"""Parallel coordinates of a search: an axis for each parameter, the objective last, a line for each trial. Pure."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scenerec.axes import Scale, Tick, round_ticks
from scenerec.config.space import Parameter, Space, describe_value
from scenerec.search.charts import Mark, chosen, title
from scenerec.search.objectives import axis_name, tick_label, towards_better
from scenerec.search.trial import Trial

SHADES = 6
"""Number of shades, from the weak (q0) to the best (q5)."""

_TOP, _BOTTOM, _NONE = 44.0, 300.0, 332.0  # of the axes; where it is that has no value
_LEFT, _RIGHT, _WIDTH = 132, 72, 990  # where the first axis lies, and the last from the right
_LEAST_STEP = 104  # between axes: where there are many, the chart is wider
_LONGEST_LABEL = 16
_FEW_VALUES = 8


@dataclass(frozen=True)
class Axis:
    """An axis: a parameter, or the objective."""

    x: float
    """Where it stands, in units of the chart."""
    name: str
    """Its short name, such as lr."""
    field: str
    """Its full name, such as optimize.lr."""
    ticks: tuple[Tick, ...]
    """Marks of its values."""


@dataclass(frozen=True)
class Parallel:
    """All axes, and the lines; the best lie on top."""

    width: int
    height: int
    axes: tuple[Axis, ...]
    top: float
    bottom: float
    lines: tuple[Mark, ...]
    """A line for each trial; its kind is a shade, or `failed` where there is no value."""
    scale: tuple[tuple[float, float, str], ...]
    """(top, height, shade) beside the last axis."""
    none_at: float | None
    """The height at which lines pass that have no value on an axis; None where all have one."""


def parallel(space: Space, ranked: Sequence[Trial], objectives: Sequence[str]) -> Parallel | None:
    """Parallel coordinates of the trials of a leaderboard; None where there is none."""
    drawn = chosen(ranked)
    if not drawn:
        return None
    fields = list(space)
    places = {field: _places(field, space[field], drawn) for field in fields}
    values = {trial.number: value for trial in drawn if (value := trial.value(objectives[0])) is not None}
    objective = _objective_scale(objectives[0], list(values.values()))
    step = max((_WIDTH - _LEFT - _RIGHT) // len(fields), _LEAST_STEP)
    xs = [_LEFT + step * index for index in range(len(fields) + 1)]
    names = _short_names(fields)
    axes = [Axis(x, names[field], field, _ticks(space[field])) for x, field in zip(xs, fields, strict=False)]
    label = tick_label(objectives[0], objective.high - objective.low)
    marks = objective.ticks(label) if values else ()
    axes.append(Axis(xs[-1], axis_name(objectives[0]), objectives[0], marks))
    bounds = _shade_bounds(objectives[0], list(values.values()))
    lines, has_none = [], False
    for trial in reversed(drawn):
        value = values.get(trial.number)
        ys = [places[field].get(trial.number, _NONE) for field in fields]
        ys.append(_NONE if value is None else objective.at(value))
        has_none = has_none or _NONE in ys
        kind = "failed" if value is None else f"q{_shade(towards_better(objectives[0], value), bounds)}"
        lines.append(Mark(trial.number, kind, title(trial, objectives), _flow(xs, ys)))
    shades = _shade_scale(objectives[0], objective, bounds) if values else ()
    none_at = _NONE if has_none else None
    return Parallel(xs[-1] + _RIGHT, 352, tuple(axes), _TOP, _BOTTOM, tuple(lines), shades, none_at)


def _places(field: str, parameter: Parameter, trials: Sequence[Trial]) -> dict[int, float]:
    """Where the line of each trial meets an axis. Those of one choice lie side by side, the best on top."""
    present = [trial for trial in trials if field in trial.point]
    if parameter.choice is None:
        return {trial.number: _BOTTOM - parameter.share_of(trial.point[field]) * (_BOTTOM - _TOP) for trial in present}
    slot = (_BOTTOM - _TOP) / len(parameter.choice)
    members: dict[int, list[int]] = defaultdict(list)
    for trial in present:
        members[parameter.choice.index(trial.point[field])].append(trial.number)
    return {
        number: _slot_middle(choice, slot) + slot * 0.56 * ((place + 0.5) / len(numbers) - 0.5)
        for choice, numbers in members.items()
        for place, number in enumerate(numbers)
    }


def _slot_middle(index: int, slot: float) -> float:
    return _TOP + (index + 0.5) * slot


def _ticks(parameter: Parameter) -> tuple[Tick, ...]:
    if parameter.choice is not None:
        slot = (_BOTTOM - _TOP) / len(parameter.choice)
        return tuple(
            Tick(round(_slot_middle(index, slot), 1), _label(value)) for index, value in enumerate(parameter.choice)
        )
    low, high = parameter.bounds
    scale = Scale(low, high, _BOTTOM, _TOP, parameter.log_uniform is not None)
    if parameter.values is not None:
        few = len(parameter.values) <= _FEW_VALUES
        values = list(parameter.values) if few else [value for value in round_ticks(low, high) if value == int(value)]
        return tuple(Tick(round(scale.at(value), 1), f"{value:g}") for value in values)
    inner = scale.ticks(lambda value: f"{value:.3g}")
    ends = [Tick(_BOTTOM, f"{low:.3g}"), Tick(_TOP, f"{high:.3g}")]
    return (*ends, *(tick for tick in inner if all(abs(tick.at - end.at) > 16 for end in ends)))


def _label(value: object) -> str:
    """A value as a label: of an address its last part; of what is long its beginning and end, where names differ."""
    text = describe_value(value)
    if "/" in text:
        text = text.rstrip("/").rpartition("/")[2]
    if len(text) <= _LONGEST_LABEL:
        return text
    kept = _LONGEST_LABEL // 2
    return f"{text[: kept - 1]}…{text[-kept:]}"


def _short_names(fields: Sequence[str]) -> Mapping[str, str]:
    """`lr` for optimize.lr, where no other field ends so."""
    ends = [field.rpartition(".")[2] for field in fields]
    return {field: end if ends.count(end) == 1 else field for field, end in zip(fields, ends, strict=True)}


def _objective_scale(objective: str, values: Sequence[float]) -> Scale:
    """Better is up."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low == high:
        low, high = low - 0.05, high + 0.05
    is_rising = towards_better(objective, 1.0) > 0
    return Scale(low, high, *((_BOTTOM, _TOP) if is_rising else (_TOP, _BOTTOM)))


def _shade_bounds(objective: str, values: Sequence[float]) -> tuple[float, float]:
    """The weaker third has the first shade: what matters are differences among the good."""
    scores = sorted(towards_better(objective, value) for value in values)
    return (scores[len(scores) // 3], scores[-1]) if scores else (0.0, 1.0)


def _shade(score: float, bounds: tuple[float, float]) -> int:
    low, high = bounds
    if high <= low:
        return SHADES - 1
    return min(max(math.floor((score - low) / (high - low) * SHADES), 0), SHADES - 1)


def _shade_scale(objective: str, scale: Scale, bounds: tuple[float, float]) -> tuple[tuple[float, float, str], ...]:
    """The shades as a strip: each from where it begins to where the next does, the first from the axis' lower end."""
    low, high = bounds
    edges = [_BOTTOM]
    for shade in range(1, SHADES):
        score = low + shade * (high - low) / SHADES
        edges.append(scale.at(towards_better(objective, score)))
    edges.append(_TOP)
    return tuple(
        (round(edges[shade + 1], 1), round(max(edges[shade] - edges[shade + 1], 0), 1), f"q{shade}")
        for shade in range(SHADES)
    )


def _flow(xs: Sequence[float], ys: Sequence[float]) -> str:
    """A smooth line through the axes, level where it meets them."""
    parts = [f"M{xs[0]} {ys[0]:.1f}"]
    for place in range(1, len(xs)):
        bend = round((xs[place] - xs[place - 1]) * 0.4)
        command = f"C{xs[0] + bend} {ys[0]:.1f} " if place == 1 else "S"  # S mirrors the control point before
        parts.append(f"{command}{xs[place] - bend} {ys[place]:.1f} {xs[place]} {ys[place]:.1f}")
    return "".join(parts)
