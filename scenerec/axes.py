"""Axes of charts as geometry: where values lie, and which ticks stand there. Pure."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

_WIDE_RATIO = 20  # an axis that spans more is logarithmic


@dataclass(frozen=True)
class Tick:
    """A mark of an axis."""

    at: float
    """Where it lies, in units of the chart."""
    label: str
    """What stands beside it."""

    @property
    def width(self) -> float:
        """At most so wide is the label, in a sans-serif font of 12 px."""
        return 7.2 * len(self.label) + 6


@dataclass(frozen=True)
class Scale:
    """Values on an axis: `low` lies at `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def at(self, value: float) -> float:
        """Where a value lies; one beyond the axis lies at its end."""
        value = min(max(value, self.low), self.high)
        low, high = self.low, self.high
        if self.is_log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self, label: Callable[[float], str], most: int = 6) -> tuple[Tick, ...]:
        """Marks at round values."""
        values = log_ticks(self.low, self.high) if self.is_log else round_ticks(self.low, self.high, most)
        return tuple(Tick(round(self.at(value), 1), label(value)) for value in values)


def round_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between two numbers, no more than `most`."""
    if not high > low:
        return [float(low)]
    magnitude = 10.0 ** math.floor(math.log10((high - low) / most))
    fits = (step for step in (1, 2, 5, 10, 20) if (high - low) / (step * magnitude) < most)
    step = next(fits, 20) * magnitude
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, 2 - math.floor(math.log10(step)))
    return [round(place * step, digits) for place in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten between two numbers, with 2 and 5 times them where there are few; every other where many."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for factors, step in (((1,), 1 + (last - first) // 6), ((1, 3), 1), ((1, 2, 5), 1)):
        powers = range(first, last + 1, step)
        found = [float(f"{factor}e{power}") for power in powers for factor in factors]
        found = [value for value in found if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(found) >= 3:
            return found
    return found or [low, high]


def path(points: Iterable[tuple[float, float]]) -> str:
    """A line through points, in tenths of a unit."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}".replace(".0", "") for x, y in points)


def value_scale(
    values: Sequence[float],
    start: float,
    end: float,
    is_share: bool,
    may_be_log: bool = False,
    may_shoot_up: bool = True,
) -> Scale:
    """An axis over sorted values, with a little room; a loss that has shot up does not press down the others."""
    low, high = values[0], values[-1]
    if may_shoot_up and not is_share and not may_be_log:
        high = min(high, 4 * values[len(values) // 2])
    if may_be_log and low > 0 and high / low > _WIDE_RATIO:
        return Scale(low * 0.9, high * 1.1, start, end, is_log=True)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    if is_share:
        return Scale(max(low - room, 0.0), min(high + room, 1.0), start, end)
    return Scale(low - room if low < 0 else max(low - room, 0.0), high + room, start, end)


def epoch_ticks(scale: Scale) -> tuple[Tick, ...]:
    """Marks of an axis of epochs, which begins with a whole number: whole numbers."""
    whole = [epoch for epoch in round_ticks(scale.low, scale.high, 8) if epoch.is_integer() and epoch > scale.low]
    return tuple(Tick(round(scale.at(epoch), 1), f"{epoch:g}") for epoch in (scale.low, *whole))


def tick_label(unit: str, spread: float) -> Callable[[float], str]:
    """Labels of the ticks of an axis on which values of a metric's unit differ by `spread`."""
    if unit == "share":
        digits = 0 if spread >= 0.04 else 1 if spread >= 0.004 else 2
        return lambda value: f"{100 * value:.{digits}f}%"
    if unit == "parameters":
        return lambda value: f"{value / 1e6:g}M"
    return lambda value: f"{value:g}"
