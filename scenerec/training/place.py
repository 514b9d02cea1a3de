"""Where a run is: all that a resume needs beside the learner."""

from dataclasses import dataclass, field

from scenerec.checkpoint import RunState
from scenerec.data.stream import Cursor
from scenerec.epoch_metrics import EpochMetrics
from scenerec.training.schedules import PlateauState
from scenerec.training.sums import Sums


@dataclass
class Place:
    """Where a run is."""

    cursor: Cursor = field(default_factory=Cursor)
    """The next step."""
    plateau: PlateauState = field(default_factory=PlateauState)
    """What the schedule reduce-on-plateau remembers."""
    sums: Sums = field(default_factory=Sums)
    """Over the epoch under way."""
    since_line: Sums = field(default_factory=Sums)
    """Since the newest line of steps.jsonl."""
    history: list[EpochMetrics] = field(default_factory=list)
    """The finished epochs."""

    @staticmethod
    def of(run: RunState) -> "Place":
        """The place that a checkpoint was made at."""
        return Place(
            Cursor(run.epoch, run.step),
            PlateauState(**run.plateau),
            Sums(**run.partial),
            Sums(**run.since_line),
            list(run.history),
        )
