"""The curves of a run over its steps and epochs, in a few lines of text."""

from collections.abc import Iterator, Sequence
from math import nan

from scenerec.commands.screen.sparkline import sparkline
from scenerec.epoch_metrics import EpochMetrics
from scenerec.step_metrics import StepMetrics
from scenerec.training.task import VAL_LOSS, scores

_NAMES = 10  # columns of the curves' names
_FEWEST_MARKS = 8  # of a curve, for which the words beside it make room


def curves(
    history: Sequence[EpochMetrics], steps: Sequence[StepMetrics], width: int, encoding: str | None = "utf-8"
) -> list[str]:
    """A line each for training loss, validation loss, the first score (such as top-1) and images/s.

    Each has its name, the curve, and its first and last value where they fit. Loss and images/s are drawn by step where
    that is known; what has a single value yet has no line.

    Args:
        history: the finished epochs, in order.
        steps: the run's lines of steps.jsonl, in order.
        width: columns of the terminal.
        encoding: of the terminal.
    """
    rows = list(_rows(history, steps))
    if not rows:
        return []
    beside = [words for _, _, words in rows]
    if _room(beside, width) < _FEWEST_MARKS:
        beside = [words.rpartition(" ")[2] for words in beside]  # the last value alone
    if _room(beside, width) < _FEWEST_MARKS:
        beside = [""] * len(rows)
    room = max(_room(beside, width), 1)
    drawn = [sparkline(values, room, encoding) for _, values, _ in rows]
    marks = max(map(len, drawn))
    return [
        f"{name:<{_NAMES}}{line:<{marks}}  {words}".rstrip()
        for (name, _, _), line, words in zip(rows, drawn, beside, strict=True)
    ]


def _room(beside: Sequence[str], width: int) -> int:
    """Columns that names and words leave to the curves."""
    longest = max(map(len, beside))
    return width - _NAMES - (longest + 2 if longest else 0)


def _rows(history: Sequence[EpochMetrics], steps: Sequence[StepMetrics]) -> Iterator[tuple[str, list[float], str]]:
    """(name, values in order, the first and the last in words) of each curve."""
    by_step = len(steps) > 1
    losses = [each.loss for each in steps] if by_step else [each.train_loss for each in history]
    speeds = [each.images_per_s for each in (steps if by_step else history)]
    if len(losses) > 1:
        yield "loss", losses, f"{losses[0]:.4f} to {losses[-1]:.4f}"
    if len(history) > 1:
        losses = [each.validation.get(VAL_LOSS.key, nan) for each in history]
        yield "val loss", losses, f"{losses[0]:.4f} to {losses[-1]:.4f}"
        for metric, _ in scores(history[-1].validation)[:1]:
            values = [each.validation.get(metric.key, nan) for each in history]
            yield metric.name, values, f"{metric.show(values[0])} to {metric.show(values[-1])}"
    if len(speeds) > 1:
        yield "images/s", speeds, f"{speeds[0]:.1f} to {speeds[-1]:.1f}"
