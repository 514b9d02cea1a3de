"""A job's log as people want to see it: where it is, a row for each epoch, and what came of it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar

from scenerec.training.progress import (
    EpochSummary,
    Failure,
    Note,
    Progress,
    RunResult,
    format_duration,
    parse_line,
    plain,
)

# What Ray writes before the lines of its workers, and in its own: times, severities, process ids.
_NOISE = re.compile(
    r"^\([^()]*\bpid=\d+[^()]*\) "
    r"|^\[?\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[,.]\d+[\s:]+(DEBUG|INFO|WARNING|[IWD] )"
    r"|^Running entrypoint for job "
)
_EPOCH_HEADER = (
    f"{'epoch':>9}  {'train loss':>10}  {'val loss':>9}  {'top-1':>7}  {'top-5':>7}  {'images/s':>9}  {'lr':>9}"
)


@dataclass
class Story:
    """What a log has told so far."""

    result: dict[str, Any] | None = None
    """The run's result, when it has come to its end."""
    errors: list[str] = field(default_factory=list)
    """Errors of the user's kind."""
    tail: list[str] = field(default_factory=list)
    """The newest lines that are neither an event nor noise."""


class Screen(Protocol):
    """Where the story is told."""

    def line(self, text: str) -> None:
        """One line that stays."""

    def progress(self, progress: Progress) -> None:
        """Where the run is."""

    def epoch(self, summary: EpochSummary) -> None:
        """A finished epoch."""


def tell(lines: Iterable[str], console: Console, verbose: bool = False, others: bool = False) -> Story:
    """Shows a job's log while it comes: a live bar on a terminal, plain lines elsewhere.

    `others` shows lines that are neither progress nor Ray's noise as well; `verbose` shows all.
    """
    with _Bar(console) if console.is_terminal else _Plain(console) as screen:
        return _tell(lines, screen, verbose, others)


def is_noise(line: str) -> bool:
    """Whether Ray wrote this line for its own sake, or a worker did that has nothing to say to the user."""
    return bool(_NOISE.match(plain(line)))


def show_result(result: dict[str, Any], console: Console) -> None:
    """The result as a table."""
    rows = [
        (key.replace("_", " "), str(result[key]))
        for key in ("best_checkpoint", "last_checkpoint", "run")
        if key in result
    ]
    for which in ("last", "best"):
        if epoch := result.get(which):
            top1, top5 = _percent(epoch["val_top1"]), _percent(epoch["val_top5"])
            rows.insert(0, (which, f"top-1 {top1}, top-5 {top5}, epoch {epoch['epoch']}"))
    for what, value in rows:
        console.print(f"{what:<15}  {value}", markup=False, highlight=False, soft_wrap=True)


def _tell(lines: Iterable[str], screen: Screen, verbose: bool, others: bool) -> Story:
    story = Story()
    for line in lines:
        match parse_line(line):
            case Progress() as progress:
                screen.progress(progress)
            case EpochSummary() as summary:
                screen.epoch(summary)
            case Note(text):
                screen.line(text)
            case Failure(message):
                story.errors.append(message)
                if others:
                    screen.line(f"error: {message}")
            case RunResult(content):
                story.result = content
            case _:
                _other(line, story, screen, verbose, others)
    return story


def _other(line: str, story: Story, screen: Screen, verbose: bool, others: bool) -> None:
    noise = is_noise(line) or not line.strip()
    if not noise:
        story.tail = [*story.tail[-19:], plain(line)]
    if verbose or (others and not noise):
        screen.line(plain(line))


class _Plain:
    """Lines, for files and pipes."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.rows = 0

    def __enter__(self) -> "_Plain":
        return self

    def __exit__(self, *_: object) -> None: ...

    def line(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def progress(self, progress: Progress) -> None:
        self.line(
            f"{_place(progress)}  {progress.images_per_s:.1f} images/s  loss {progress.loss:.4f}  "
            f"lr {progress.lr:.4g}  {format_duration(progress.eta_s)} left"
        )

    def epoch(self, summary: EpochSummary) -> None:
        if not self.rows:
            self.line(_EPOCH_HEADER)
        self.rows += 1
        self.line(_epoch_row(summary))


class _Bar(_Plain):
    """A bar over the whole run below the lines, for terminals."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.top1 = ""
        self.bar = ProgressBar(
            TimeElapsedColumn(),
            BarColumn(bar_width=None),
            TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
            expand=True,
        )
        self.task: TaskID | None = None

    def __enter__(self) -> "_Bar":
        self.bar.start()
        self.task = self.bar.add_task("waiting for the workers", total=None)
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def progress(self, progress: Progress) -> None:
        assert self.task is not None
        self.bar.update(
            self.task,
            completed=(progress.epoch - 1) * progress.steps + progress.step,
            total=progress.epochs * progress.steps,
            description=f"{_place(progress)}  {progress.images_per_s:.0f} images/s  loss {progress.loss:.3f}"
            f"{self.top1}  {format_duration(progress.eta_s)} left",
        )

    def epoch(self, summary: EpochSummary) -> None:
        super().epoch(summary)
        self.top1 = f"  top-1 {summary.val_top1:.1%}"


def _place(progress: Progress) -> str:
    width = len(str(progress.steps))
    return f"epoch {progress.epoch}/{progress.epochs} step {progress.step:>{width}}/{progress.steps}"


def _epoch_row(summary: EpochSummary) -> str:
    place = f"{summary.epoch}/{summary.epochs}"
    top1, top5 = _percent(summary.val_top1), _percent(summary.val_top5)
    return (
        f"{place:>9}  {summary.train_loss:>10.4f}  {summary.val_loss:>9.4f}  {top1:>7}  {top5:>7}  "
        f"{summary.images_per_s:>9.1f}  {summary.lr:>9.4g}"
    )


def _percent(share: float) -> str:
    return f"{share:.2%}"
