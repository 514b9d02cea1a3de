"""A machine that is about to go: all ranks hear of it at one step. tests/integration/test_loop.py trains with it."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scenerec.training.preemption import ASKED_EVERY_S, PreemptionWatch
from scenerec.world import World


class Ranks:
    """The watches of several ranks that step together, each on a clock of its own, and hear of their sum."""

    def __init__(self, size: int, step_s: list[float]) -> None:
        self.step_s, self.now_s, self.told = step_s, 0.0, np.zeros(size, bool)
        self.asked: list[int] = []
        self._given: list[np.ndarray] = []
        self.watches = [
            PreemptionWatch(lambda rank=rank: bool(self.told[rank]), World(rank, size), self._sum, lambda: self.now_s)  # type: ignore[misc]
            for rank in range(size)
        ]

    def _sum(self, values: np.ndarray) -> np.ndarray:
        """What a rank gives; those of the others are the same but for rank 0's interval, and their own news."""
        self._given.append(values)
        return np.array([self.told.sum(), self._given[0][1]])

    def step(self, number: int) -> set[bool]:
        self.now_s += self.step_s[number % len(self.step_s)]
        self._given.clear()
        heard = {watch.is_new() for watch in self.watches}
        assert len(self._given) in (0, len(self.watches))  # all ask, or none does
        if self._given:
            self.asked.append(number)
        return heard


@given(st.integers(1, 4), st.lists(st.floats(0.05, 30), min_size=1, max_size=7), st.integers(0, 100), st.data())
def test_all_ranks_hear_of_it_once_at_one_step(size: int, step_s: list[float], told_at: int, data: Any) -> None:
    ranks, heard = Ranks(size, step_s), []
    for number in range(1_000):
        if number == told_at:
            ranks.told[data.draw(st.integers(0, size - 1))] = True
        found = ranks.step(number)
        assert len(found) == 1
        if found == {True}:
            heard.append(number)
        if heard and number > heard[0] + 20:
            break
    assert len(heard) == 1 and heard[0] >= told_at


def test_the_ranks_ask_every_few_seconds() -> None:
    ranks = Ranks(2, [0.125])
    for number in range(500):
        ranks.step(number)
    assert ranks.asked[:7] == [0, 2, 6, 14, 30, 62, 102]  # as soon as the pace is known
    assert set(np.diff(ranks.asked[6:])) == {ASKED_EVERY_S / 0.125}
