"""A trial of a search: what was tried, how far it came and what it showed; pure."""

from collections.abc import Sequence
from math import isfinite, nan
from typing import Literal

from pydantic import Field

from scenerec.config.space import Point
from scenerec.config.tune import STATIC
from scenerec.epoch_metrics import EpochMetrics
from scenerec.frozen import Frozen
from scenerec.search.objectives import epoch_metric, towards_better

State = Literal["running", "paused", "finished", "stopped", "failed", "refused"]
"""`paused`: at a rung, until it is among the best there. `stopped`: early, by the scheduler or the search's end.
`refused`: its values do not fit each other; it never ran."""

ENDED: frozenset[State] = frozenset({"finished", "stopped", "failed", "refused"})


class Trial(Frozen):
    """One trial, as its trial.json keeps it. JSON values."""

    number: int
    """Number of the trial, from 0, in the order in which they were proposed."""
    point: Point
    """The values that it tries, by field."""
    state: State
    """Whether it runs, waits, or how it has ended."""
    epochs: int = 0
    """Epochs that it would run in all, over its levels."""
    epochs_done: int = 0
    """Epochs that it has run."""
    level: int = 1
    """Level of resolution or data that `history` was seen at, from 1; only values of one level compare."""
    cost: float = 0.0
    """Cost of the epochs that it has run, in epochs of the full resolution and data."""
    run: str | None = None
    """Folder of its newest run."""
    history: tuple[EpochMetrics, ...] = ()
    """Metrics of its epochs, in order; with levels those of the newest level, which alone compare."""
    static: dict[str, float] = Field(default_factory=dict)
    """Objectives that do not change while it trains: parameters, gflops, latency_ms."""
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
        return self.static.get(objective) if objective in STATIC else best.validation[objective]

    def values(self, objectives: Sequence[str]) -> tuple[float, ...] | None:
        """Its values, None where it lacks one."""
        found = [self.value(objective) for objective in objectives]
        return None if None in found else tuple(value for value in found if value is not None)

    def best_epoch(self, objective: str) -> EpochMetrics | None:
        """The epoch at which it stood best, the first of equal ones; as `epoch_metric` for what no epoch changes."""
        key = epoch_metric(objective, {key for epoch in self.history for key in epoch.validation})
        known = [epoch for epoch, _ in self.curve(key)]
        return max(known, key=lambda epoch: towards_better(key, epoch.validation[key]), default=None)

    def curve(self, key: str) -> list[tuple[EpochMetrics, float]]:
        """(epoch, value) of a validation metric, where it is a number that compares: a diverged loss is left out."""
        values = ((epoch, epoch.validation.get(key, nan)) for epoch in self.history)
        return [(epoch, value) for epoch, value in values if isfinite(value)]
