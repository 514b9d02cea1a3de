"""What a trial tells the search, epoch by epoch: read from its run's folder, so that a resumed one tells all of it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from scenerec.checkpoint import list_checkpoints, read_run_state
from scenerec.config.space import Point
from scenerec.config.tune import TuneConfig
from scenerec.epoch_metrics import EpochMetrics
from scenerec.errors import CheckpointError
from scenerec.search.levels import Level, rung_time, trial_levels, trial_name
from scenerec.search.trial_store import SearchFolder
from scenerec.training.run_folder import RunFolder

PATIENCE_S = 60.0
"""Waiting for the scheduler's word may save epochs, and must not cost the run."""

_ASK_EVERY_S = 0.2


@dataclass(frozen=True)
class Bookmark:
    """Where a trial's run was when the scheduler paused it, or gave it to another trial. JSON values."""

    run: str
    """Folder of the run."""
    trial: str
    """Name of the trial whose run it is."""
    part: int
    """Which of the trial's runs it is: the settings that a population has given it so far, from 0."""
    epoch: int
    """Epochs that the search has been told of."""


@dataclass(frozen=True)
class RunNews:
    """An epoch that the search is told of."""

    metrics: EpochMetrics
    """What the epoch came to."""
    rung_time: int
    """The scheduler's time at its end."""
    is_last: bool
    """Whether the trial has come to its end with this epoch."""


class Relay:
    """The news of one run: what the search has not been told yet."""

    def __init__(self, tune: TuneConfig, level: Level, told_epochs: int = 0) -> None:
        self.tune, self.level, self.told_epochs = tune, level, told_epochs
        self.folder = RunFolder(level.config.run_url, level.config.data.patience)

    def news(self) -> Iterator[RunNews]:
        """Each epoch that has ended since; of a level the last one alone. Raises StorageError."""
        history, epochs = self.folder.read_history(), self.level.config.optimize.epochs
        for epoch in history[self.told_epochs :]:
            self.told_epochs += 1
            is_last = self.level.is_last and epoch.epoch == epochs
            if self.tune.budget.by == "epochs":
                yield RunNews(epoch, epoch.epoch, is_last)
            elif epoch.epoch == epochs:
                yield RunNews(epoch, rung_time(self.tune, self.level.number), is_last)


def allow(folder: RunFolder, epoch: int) -> None:
    """Lets the run go on after this epoch: the scheduler has seen it."""
    folder.storage.put(_allowed_key(epoch), b"")


def wait_until_allowed(folder: RunFolder, epoch: int, patience_s: float = PATIENCE_S) -> bool:
    """Waits for `allow`; False: not within `patience_s`, the run goes on without it. Raises StorageError."""
    deadline_s = time.monotonic() + patience_s
    while folder.storage.size(_allowed_key(epoch)) is None:
        if time.monotonic() > deadline_s:
            return False
        time.sleep(_ASK_EVERY_S)
    return True


def _allowed_key(epoch: int) -> str:
    return f"ray/allowed-{epoch:06d}"


def begin_part(tune: TuneConfig, number: int, point: Point, source: Bookmark) -> Bookmark:
    """Begins a run of trial `number` with other settings, from another trial's checkpoint; returns where it is.

    Raises CheckpointError, StorageError.
    """
    trials = SearchFolder(tune.run_url, tune.base.data.patience).storage
    name, part = trial_name(number), 1
    while next(iter(trials.list(f"trials/{name}.part-{part}/")), None) is not None:
        part += 1
    (level,) = trial_levels(tune, number, point, part)
    return Bookmark(level.config.run_url, name, part, take_over(source, level))


def take_over(bookmark: Bookmark, level: Level) -> int:
    """Begins the run of `level` with a copy of another trial's checkpoint; returns the epochs that it has behind it.

    It is the one of the bookmarked epoch, or the newest where that one has gone already. Raises CheckpointError,
    StorageError.
    """
    patience = level.config.data.patience
    source, target = (RunFolder(run, patience).checkpoints for run in (bookmark.run, level.config.run_url))
    names = list_checkpoints(source)
    if not names:
        raise CheckpointError(f"{bookmark.run}: has no checkpoint that another trial could go on from")
    states = {name: read_run_state(source, name) for name in names}
    name = next((name for name in names if states[name].epoch == bookmark.epoch and not states[name].step), names[-1])
    keys = [info.key for info in source.list(f"{name}/")]
    for key in sorted(keys, key=lambda key: key.endswith("/state.json")):  # it makes the checkpoint complete
        target.put(key, source.get(key))
    return states[name].epoch
