"""The metrics of a run as rank 0 keeps them, by step and by epoch: steps.jsonl and TensorBoard's events in its folder.

Both are written with each checkpoint, just before it, and a resume drops what lies behind its checkpoint: each step is
in them once, whatever happened to the run.
"""

from collections.abc import Callable, Iterable
from typing import Literal

from scenerec.epoch_metrics import EpochMetrics
from scenerec.step_metrics import StepMetrics
from scenerec.training.event_file import EventFile
from scenerec.training.run_folder import RunFolder

_LINES_PER_EPOCH = 20
_MOST_STEPS_BETWEEN_LINES = 50


def line_interval(every_steps: int | Literal["auto"], steps_per_epoch: int) -> int:
    """Steps from one line to the next; `auto` is also that of the job's log, so that these lines cost nothing more."""
    if every_steps != "auto":
        return every_steps
    return max(1, min(_MOST_STEPS_BETWEEN_LINES, steps_per_epoch // _LINES_PER_EPOCH))


class MetricsLog:
    """The metrics of a run so far, in memory as they will be written.

    Args:
        earlier: lines of steps.jsonl of the run's earlier attempts.
        history: finished epochs of the checkpoint that the run goes on from.
        global_step: steps of that checkpoint; lines behind it go.
    """

    def __init__(self, earlier: Iterable[StepMetrics], history: Iterable[EpochMetrics], global_step: int) -> None:
        points = [point for point in earlier if point.global_step <= global_step]
        self._lines = bytearray().join(map(_line, points))
        self._events = EventFile(points, history)

    def add(self, metrics: StepMetrics | EpochMetrics) -> None:
        """Notes what the newest steps, or the newest epoch, came to."""
        if isinstance(metrics, StepMetrics):
            self._lines += _line(metrics)
        self._events.add(metrics)

    def writer(self, folder: RunFolder) -> Callable[[], None]:
        """Returns what writes the log into `folder` as it is now, whenever it is called."""
        lines, events = bytes(self._lines), self._events.content()
        return lambda: folder.write_steps(lines, events)


def _line(point: StepMetrics) -> bytes:
    return f"{point.model_dump_json()}\n".encode()
