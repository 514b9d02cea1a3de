"""Whether a machine of the run is about to be taken away: asked of all ranks together, every few seconds."""

import time
from collections.abc import Callable

import numpy as np

from scenerec.world import World

ASKED_EVERY_S = 5.0
"""About how often the ranks tell each other. Clouds give notice 30 s (Google, Azure) to 120 s (AWS) before."""


def never() -> bool:
    """The answer of a machine that nobody takes away."""
    return False


class PreemptionWatch:
    """Lets all ranks know at the same step that the machine of one of them is about to go.

    Asking is collective, and costs a GPU its queue of steps; so it is done at steps on which the ranks have agreed,
    some seconds apart at the pace of rank 0.

    Args:
        is_announced: whether this process has been told that its machine goes away; stays true.
        world: this process's place.
        sum_over_ranks: the sums over all ranks of float64 [n] (collective).
        clock: seconds, from anywhere on.
    """

    def __init__(
        self,
        is_announced: Callable[[], bool],
        world: World,
        sum_over_ranks: Callable[[np.ndarray], np.ndarray],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_announced, self._world, self._sum, self._clock = is_announced, world, sum_over_ranks, clock
        self._steps_to_go = self._interval = 1
        self._asked_s = clock()
        self._heard = 0

    def is_new(self) -> bool:
        """Called once a step by all ranks: whether one has heard of it since the last time (collective where due)."""
        self._steps_to_go -= 1
        if self._steps_to_go > 0:
            return False
        now_s = self._clock()
        told = np.array([self._is_announced(), self._next_interval(now_s) if self._world.is_chief else 0], np.float64)
        heard, interval = self._sum(told)
        self._asked_s, self._steps_to_go, self._interval = now_s, int(interval), int(interval)
        before, self._heard = self._heard, int(heard)
        return self._heard > before

    def _next_interval(self, now_s: float) -> int:
        """Steps that take as long as wanted, at the pace of the last ones; at most twice as many as those."""
        took_s = max(now_s - self._asked_s, 1e-9)
        return max(1, min(2 * self._interval, int(self._interval * ASKED_EVERY_S / took_s)))
