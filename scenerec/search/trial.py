"""A trial of a search: what was tried, how far it came and what it showed; pure."""

from collections.abc import Sequence
from math import isfinite
from typing import Any, Literal

from pydantic import Field

from scenerec.config.space import Point
from scenerec.config.tune import MAXIMISED, STATIC
from scenerec.frozen import Frozen

State = Literal["running", "paused", "finished", "stopped", "failed", "refused"]
"""`paused`: at a rung, until it is among the best there. `stopped`: early, by the scheduler or the search's end.
`refused`: its values do not fit each other; it never ran."""

ENDED: frozenset[State] = frozenset({"finished", "stopped", "failed", "refused"})


class Trial(Frozen):
    """One trial, as its trial.json keeps it. JSON values."""

    number: int
    """From 0, in the order in which they were proposed."""
    point: Point
    """Its values, by field."""
    state: State
    """How it stands."""
    epochs: int = 0
    """Epochs that it would run in all, over its levels."""
    epochs_done: int = 0
    """Epochs that it has run."""
    level: int = 1
    """Of resolution or data that `history` was seen at, from 1; only values of one level compare."""
    cost: float = 0.0
    """What those cost, in epochs of the full resolution and data."""
    run: str | None = None
    """Folder of its newest run."""
    history: tuple[dict[str, Any], ...] = ()
    """Metrics of its epochs, in order; with levels those of the newest level, which alone compare."""
    static: dict[str, float] = Field(default_factory=dict)
    """What does not change while it trains: parameters, gflops, latency_ms."""
    reason: str | None = None
    """Why it failed or was refused, in one line."""
    parts: int = 0
    """Times that a population gave it new settings and another trial's weights."""
    time_s: float = 0.0
    """Seconds from its start to its end, all attempts together."""

    @property
    def is_ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in ENDED

    def value(self, objective: str) -> float | None:
        """Its best value, None where it has none: a trial that failed tells nothing that a model could be made of."""
        if self.state in ("failed", "refused"):
            return None
        best = self.best_epoch(objective)
        if best is None:
            return None
        return self.static.get(objective) if objective in STATIC else float(best[objective])

    def values(self, objectives: Sequence[str]) -> tuple[float, ...] | None:
        """Its values, None where it lacks one."""
        found = [self.value(objective) for objective in objectives]
        return None if None in found else tuple(value for value in found if value is not None)

    def best_epoch(self, objective: str) -> dict[str, Any] | None:
        """The epoch at which it stood best, the first of equal ones; by top-1 for what no epoch changes."""
        key = "val_top1" if objective in STATIC else objective
        known = [epoch for epoch in self.history if is_value(epoch.get(key))]
        return max(known, key=lambda epoch: towards_better(key, epoch[key]), default=None)


def is_value(value: Any) -> bool:
    """Whether it is a number that compares: JSON has null for a loss that has left the finite numbers."""
    return isinstance(value, (int, float)) and isfinite(value)


def towards_better(objective: str, value: float) -> float:
    """The value, with its sign changed where less is better: more is better then."""
    return value if objective in MAXIMISED else -value
