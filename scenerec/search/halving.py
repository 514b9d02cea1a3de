"""Successive halving: which trials wait at a rung, go on to the next or stop; pure.

Promotions as in Li et al. 2018 (A System for Massively Parallel Hyperparameter Tuning, algorithm 2): a trial waits at a
rung until it is among the best of those that came there, so that who comes first is not judged by whoever was there
before. Ours differ where few trials are wanted: none waits that cannot go on any more, and when no more can come to a
rung at least its `finalists` best go on, so that no search is without a trial that ran to its end.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import ceil, inf
from typing import Literal

Verdict = Literal["go on", "wait", "stop"]


@dataclass
class Bracket:
    """Trials that climb the same rungs. Values are towards better: more is more."""

    rungs: tuple[float, ...]
    """Times at which trials are judged, in epochs or on the clock of `levels.rung_time`; ascending, below the last
    epoch: who is sent on from the top one runs to its end."""
    factor: int
    """One in so many goes on."""
    patient: bool
    """Whether a rung is judged only when all have come that will (HyperBand), or whenever one comes (ASHA)."""
    coming: int
    """Trials that have still to begin."""
    finalists: int = 1
    """So many go on from every rung in the end, however few that is."""
    values: list[dict[int, float]] = field(init=False)
    """Rung by rung, the value there of each trial that has come so far."""
    sent_to: dict[int, int] = field(default_factory=dict)
    """The rung that each trial climbs to: if it has come there already, it waits."""
    over: set[int] = field(default_factory=set)
    """Trials that have ended."""

    def __post_init__(self) -> None:
        self.values = [{} for _ in self.rungs]

    def begin(self, trial: int) -> None:
        """A trial starts to climb, and makes one fewer that is coming. One that has begun before goes on."""
        if trial not in self.sent_to:
            self.sent_to[trial] = 0
            self.coming = max(0, self.coming - 1)

    def reach(self, trial: int, time: float, value: float) -> Verdict:
        """What becomes of a trial that stands at `value` after `time`; one that may go on counts as sent on."""
        for rung in range(self.sent_to[trial], len(self.rungs)):
            if time < self.rungs[rung]:
                break
            self.values[rung].setdefault(trial, value)
            if trial not in self.promotable(rung):
                return "stop" if trial in self._lost_at(rung) else "wait"
            self.promote(trial)
        return "go on"

    def promote(self, trial: int) -> None:
        """Sends a trial on from the rung where it waits."""
        self.sent_to[trial] += 1

    def end(self, trial: int) -> None:
        """A trial is over: it has come to its end, failed, or was stopped. Its values still compare."""
        self.over.add(trial)

    def next(self) -> int | None:
        """The waiting trial that should go on first: from the highest rung, the best one."""
        rungs = reversed(range(len(self.rungs)))
        return next((trial for rung in rungs for trial in self.promotable(rung)), None)

    def lost(self) -> list[int]:
        """Waiting trials that whatever comes cannot bring among the best of their rung any more."""
        return [trial for rung in range(len(self.rungs)) for trial in self._lost_at(rung)]

    def promotable(self, rung: int) -> list[int]:
        """Trials that wait at a rung and are among its best, the best first."""
        closed = self._is_closed(rung)
        if self.patient and not closed:
            return []
        quota = len(self.values[rung]) // self.factor
        best = self._ranked(rung)[: max(self.finalists, quota) if closed else quota]
        return [trial for trial in best if self._waits_at(trial, rung)]

    def _is_closed(self, rung: int) -> bool:
        """Whether no trial can come to the rung any more."""
        if rung:
            below = rung - 1
            may_come = not self._is_closed(below) or bool(self.promotable(below))
        else:
            may_come = self.coming > 0
        return not may_come and not any(self._climbs_to(trial, rung) for trial in self.sent_to)

    def _lost_at(self, rung: int) -> list[int]:
        still = 0 if self._is_closed(rung) else self.coming + sum(self._is_below(each, rung) for each in self.sent_to)
        quota = max(self.finalists, (len(self.values[rung]) + still) // self.factor)
        return [trial for trial in self._ranked(rung)[quota:] if self._waits_at(trial, rung)]

    def _ranked(self, rung: int) -> list[int]:
        """All that came, the best first; of equal ones the earlier."""
        values = self.values[rung]
        return sorted(values, key=lambda trial: (-values[trial], trial))

    def _waits_at(self, trial: int, rung: int) -> bool:
        return self.sent_to[trial] == rung and trial in self.values[rung] and trial not in self.over

    def _climbs_to(self, trial: int, rung: int) -> bool:
        return self.sent_to[trial] == rung and trial not in self.values[rung] and trial not in self.over

    def _is_below(self, trial: int, rung: int) -> bool:
        """Whether a trial has not come to a rung, and still may."""
        return self.sent_to[trial] <= rung and trial not in self.values[rung] and trial not in self.over


class Halving:
    """All brackets of a search: trials enter one after the other, in the order of their numbers."""

    def __init__(self, brackets: list[Bracket]) -> None:
        self.brackets = brackets
        self.bracket_of: dict[int, Bracket] = {}

    def begin(self, trial: int) -> None:
        """A new trial enters the first bracket that has a place left."""
        if trial not in self.bracket_of:
            places = (bracket for bracket in self.brackets if bracket.coming)
            self.bracket_of[trial] = next(places, self.brackets[-1])
        self.bracket_of[trial].begin(trial)

    def reach(self, trial: int, time: float, value: float | None) -> Verdict:
        """What becomes of a trial in its bracket (see `Bracket.reach`); without a value, diverged, it is the last."""
        return self.bracket_of[trial].reach(trial, time, -inf if value is None else value)

    def recall(self, trial: int, reached: Iterable[tuple[float, float | None]]) -> None:
        """Takes note of a trial of an earlier session that has ended: it was sent on as far as it came."""
        self.begin(trial)
        bracket = self.bracket_of[trial]
        for time, value in reached:
            if bracket.sent_to[trial] < len(bracket.rungs) and trial in bracket.values[bracket.sent_to[trial]]:
                bracket.promote(trial)
            self.reach(trial, time, value)
        bracket.end(trial)

    def promote(self, trial: int) -> None:
        """Sends a trial on from the rung of its bracket where it waits."""
        self.bracket_of[trial].promote(trial)

    def end(self, trial: int) -> None:
        """Takes note that a trial is over; its values still compare in its bracket."""
        self.bracket_of[trial].end(trial)

    def close(self) -> None:
        """Takes note that no trial begins any more."""
        for bracket in self.brackets:
            bracket.coming = 0

    def next(self) -> int | None:
        """The waiting trial that should go on first: of the first bracket that has one."""
        return next((trial for bracket in self.brackets if (trial := bracket.next()) is not None), None)

    def lost(self) -> Iterator[int]:
        """Waiting trials of all brackets that cannot come among the best of their rung any more."""
        for bracket in self.brackets:
            yield from bracket.lost()


def asynchronous(rungs: tuple[float, ...], factor: int, trials: int, finalists: int = 1) -> Halving:
    """ASHA: one bracket for all."""
    return Halving([Bracket(rungs, factor, patient=False, coming=trials, finalists=finalists)])


def hyperband(rungs: tuple[float, ...], factor: int, trials: int) -> Halving:
    """HyperBand (Li et al. 2018, Hyperband, algorithm 1): brackets that begin to judge at each rung, over and over.

    The first judges earliest and holds most trials; the last judges none.
    """
    brackets: list[Bracket] = []
    most = len(rungs)
    while (left := trials - sum(bracket.coming for bracket in brackets)) > 0:
        halvings = most - len(brackets) % (most + 1)
        size = ceil((most + 1) / (halvings + 1) * factor**halvings)
        brackets.append(Bracket(rungs[most - halvings :], factor, patient=True, coming=min(size, left)))
    return Halving(brackets)
