"""How fast a training goes of late."""

from collections import deque
from dataclasses import dataclass, field


@dataclass
class Pace:
    """How long the steps of the last epoch took, with the validation and the checkpoints among them.

    The first step of a process is left out: it builds the network, and would promise hours. Nor does an epoch's first
    step count for more than another, as it would in the mean of a new epoch.
    """

    steps_per_epoch: int
    _marks: deque[tuple[int, float]] = field(default_factory=deque)  # (steps done, time in seconds), oldest first

    def seconds_a_step(self, steps_done: int, now_s: float, at_first_s: float) -> float:
        """Seconds that a step takes; `at_first_s` at the first question, to which nothing is known.

        `steps_done` counts all steps of the run and rises from question to question; `now_s` is of a clock that never
        goes back.
        """
        self._marks.append((steps_done, now_s))
        while len(self._marks) > 2 and steps_done - self._marks[1][0] >= self.steps_per_epoch:
            self._marks.popleft()
        first_step, began_s = self._marks[0]
        return (now_s - began_s) / (steps_done - first_step) if steps_done > first_step else at_first_s
