"""A line of blocks that draws numbers over time, one character high."""

import math
from collections.abc import Sequence
from itertools import pairwise

BLOCKS = "▁▂▃▄▅▆▇█"
"""From the smallest number to the largest."""
ASCII = "_.-:=+*#"
"""The same, where a terminal's encoding has no blocks."""


def sparkline(values: Sequence[float], width: int, encoding: str | None = "utf-8") -> str:
    """Draws the values, in at most so many characters: where there are more values, each is the mean of some.

    What is not finite leaves a gap. Values that are all the same are drawn at half of the height.

    Args:
        values: at equal distances.
        width: characters, at least 1.
        encoding: of the terminal; where blocks cannot be said in it, ASCII's characters draw.
    """
    marks = BLOCKS if _can_say(BLOCKS, encoding) else ASCII
    means = [_mean(group) for group in _groups(values, width)]
    finite = [mean for mean in means if math.isfinite(mean)]
    lowest, highest = min(finite, default=0.0), max(finite, default=0.0)
    return "".join(_mark(mean, lowest, highest, marks) for mean in means).rstrip()


def _groups(values: Sequence[float], width: int) -> list[Sequence[float]]:
    """The values in order, in at most `width` groups whose sizes differ by at most one."""
    count = min(len(values), width)
    cuts = [index * len(values) // count for index in range(count + 1)] if count else []
    return [values[begin:end] for begin, end in pairwise(cuts)]


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(value / len(finite) for value in finite) if finite else math.nan


def _mark(value: float, lowest: float, highest: float, marks: str) -> str:
    if not math.isfinite(value):
        return " "
    # Halves first: the difference of the largest floats is infinite.
    span = highest / 2 - lowest / 2
    share = (value / 2 - lowest / 2) / span if span else 0.5
    return marks[min(int(share * len(marks)), len(marks) - 1)]


def _can_say(text: str, encoding: str | None) -> bool:
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
