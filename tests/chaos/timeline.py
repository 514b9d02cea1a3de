"""How a run came forward, by the lines of its log: what a fault cost it, and what share of its time made steps."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from scenerec.job_log import Event, Progress


class Point(NamedTuple):
    """A step that was made, for the first time or again."""

    at_s: float
    """When its line came, in seconds since any beginning."""
    step: int
    """Number of the step in the run, from 1."""


@dataclass(frozen=True)
class Timeline:
    """All steps of a run that has a line for each, in the order in which they came."""

    points: tuple[Point, ...]

    @classmethod
    def of(cls, events: Iterable[tuple[float, Event]]) -> "Timeline":
        """Takes the steps out of what a run told and when.

        Lines may come twice: Ray sends old ones again after a node's return. A line that was told before is left out
        where the run has not gone back.
        """
        points: list[Point] = []
        told: set[tuple[int, float, float]] = set()
        for at_s, event in events:
            if isinstance(event, Progress):
                step = (event.epoch - 1) * event.steps + event.step
                fingerprint = (step, event.images_per_s, event.eta_s)  # of six digits: no step takes as long again
                if fingerprint not in told:
                    points.append(Point(at_s, step))
                told.add(fingerprint)
        return cls(tuple(points))

    @cached_property
    def firsts(self) -> tuple[Point, ...]:
        """The steps that were made for the first time."""
        kept: list[Point] = []
        for point in self.points:
            if not kept or point.step > kept[-1].step:
                kept.append(point)
        return tuple(kept)

    @property
    def redone(self) -> int:
        """How many steps were made again, for they lay behind the newest checkpoint."""
        return len(self.points) - len(self.firsts)

    @property
    def wall_s(self) -> float:
        """Seconds from the first step to the last one."""
        return self.firsts[-1].at_s - self.firsts[0].at_s if self.firsts else 0.0

    def step_s(self, steps_per_epoch: int) -> float:
        """The median seconds of a step, over whole epochs: with their validation and their checkpoints.

        Raises ValueError of a run of fewer than two epochs.
        """
        ends = [point.at_s for point in self.firsts if point.step % steps_per_epoch == 0]
        if len(ends) < 2:
            raise ValueError("a run of one epoch does not tell how long an epoch takes")
        return statistics.median(after - before for before, after in pairwise(ends)) / steps_per_epoch

    def longest_pause_s(self) -> float:
        """The longest time between two steps that were made for the first time."""
        return max((after.at_s - before.at_s for before, after in pairwise(self.firsts)), default=0.0)

    def recovery_s(self, struck_s: float, until_s: float, usual_s: float) -> float | None:
        """Seconds from a fault to the first new step after the longest pause that followed.

        Args:
            struck_s: when the fault came.
            until_s: when the next one came, or the run ended.
            usual_s: pauses that are no longer than this are no consequence.

        Returns:
            0 where the run was not held up; None where no new step came.
        """
        times = [point.at_s for point in self.firsts if struck_s < point.at_s <= until_s]
        if not times:
            return None
        pause, end = max((after - before, after) for before, after in pairwise([struck_s, *times]))
        return end - struck_s if pause > usual_s else 0.0

    def redone_between(self, struck_s: float, until_s: float) -> int:
        """How many steps were made again in that time."""
        new = {point.at_s for point in self.firsts}
        return sum(struck_s < point.at_s <= until_s and point.at_s not in new for point in self.points)


def goodput(disturbed: Timeline, undisturbed: Timeline, steps_per_epoch: int) -> float:
    """The share of a run's time that its steps would have taken without a fault, each made once.

    Both are the same run. What is lost are steps made again, starts of workers, and waiting.
    """
    useful_s = (len(disturbed.firsts) - 1) * undisturbed.step_s(steps_per_epoch)
    return useful_s / disturbed.wall_s if disturbed.wall_s else 0.0


def median_by_kind(recoveries: Sequence[tuple[str, float]]) -> dict[str, float]:
    """The median of the seconds of each kind of fault, in the kinds' first order."""
    kinds = dict.fromkeys(kind for kind, _ in recoveries)
    return {kind: statistics.median(seconds for of, seconds in recoveries if of == kind) for kind in kinds}
