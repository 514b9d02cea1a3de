"""A job's log as people want to see it: where it is, a row for each epoch, and what came of it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar
from rich.table import Column
from typing_extensions import override

from scenerec.commands.screen.live_lines import Lines, data_wait_words, place
from scenerec.job_log import (
    EpochSummary,
    Failure,
    ImageProgress,
    Note,
    Progress,
    Restart,
    RunResult,
    SearchNews,
    TrialNews,
    Waiting,
    format_duration,
    parse_line,
    plain,
)
from scenerec.json_object import JsonObject
from scenerec.training.task import scores

# What Ray writes before the lines of its workers, and in its own: times, severities, process ids.
_NOISE = re.compile(
    r"^\([^()]*\bpid=\d+[^()]*\) "
    r"|^\[?\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[,.]\d+[\s:]+(DEBUG|INFO|WARNING|[IWD] )"
    r"|^Running entrypoint for job "
)

_ELAPSED = len("0:00:00")
_BESIDE = _ELAPSED + 6  # columns of a line that are not its text: the elapsed time and at least four of the bar


@dataclass
class Story:
    """What a log has told so far."""

    result: JsonObject | None = None
    """The run's result, when it has come to its end."""
    errors: list[str] = field(default_factory=list)
    """Errors of the user's kind."""
    tail: list[str] = field(default_factory=list)
    """The newest lines that are neither an event nor noise."""


def tell(
    lines: Iterable[str], console: Console, view: type[Lines], verbose: bool = False, others: bool = False
) -> Story:
    """Shows a job's log while it comes: in a live view on a terminal, in plain lines elsewhere.

    Args:
        lines: of the log.
        console: where they are shown.
        view: for a terminal, such as RunBar.
        verbose: shows all lines.
        others: shows lines that are neither progress nor Ray's noise as well.
    """
    with view(console) if console.is_terminal else Lines(console) as screen:
        return _tell(lines, screen, verbose, others)


def is_noise(line: str) -> bool:
    """Whether Ray wrote this line for its own sake, or a worker did that has nothing to say to the user."""
    return bool(_NOISE.match(plain(line)))


def show_run_result(result: JsonObject, console: Console) -> None:
    """Shows what a training came to, as a table: its epochs and checkpoints, as far as the result has them."""
    rows = [
        (key.replace("_", " "), str(result[key]))
        for key in ("best_checkpoint", "last_checkpoint", "report", "run")
        if key in result
    ]
    for which in ("last", "best"):
        if epoch := result.get(which):
            shown = [f"{metric.name} {metric.show(value)}" for metric, value in scores(epoch)]
            rows.insert(0, (which, ", ".join([*shown, f"epoch {epoch['epoch']}"])))
    if "top1" in (crops := result.get("ten_crops") or {}):
        rows.append(("ten crops", f"top-1 {crops['top1']:.2%}, by the centre alone {crops['top1_center_crop']:.2%}"))
    if usage := result.get("usage"):
        rows.append(("node-hours", usage_words(usage)))
    for what, value in rows:
        console.print(f"{what:<15}  {value}", markup=False, highlight=False, soft_wrap=True)


def usage_words(usage: JsonObject) -> str:
    """Says in a line what a training took of the cluster: `1.25, of which 0.10 wasted by 2 restarts; 40.96 USD`."""
    wasted = f", of which {usage['node_hours_wasted']:.3g} wasted by {usage['restarts']} restart(s)"
    cost = f"; {usage['cost']:,.2f} {usage['currency']}" if "cost" in usage else ""
    return f"{usage['node_hours']:.3g}{wasted if usage['restarts'] else ''}{cost}"


def _tell(lines: Iterable[str], screen: Lines, verbose: bool, others: bool) -> Story:
    story = Story()
    for line in lines:
        match parse_line(line):
            case Progress() as progress:
                screen.progress(progress)
            case EpochSummary() as summary:
                screen.epoch(summary)
            case ImageProgress() as images:
                screen.images(images)
            case TrialNews() as trial:
                screen.trial(trial)
            case SearchNews() as search:
                screen.search(search)
            case Note(text):
                screen.line(text)
            case Waiting(text):
                screen.waiting(text)
            case Restart() as restart:
                screen.line(restart.words)
            case Failure(message):
                story.errors.append(message)
                if others:
                    screen.line(f"error: {message}")
            case RunResult(content):
                story.result = content
            case _:
                _other(line, story, screen, verbose, others)
    return story


def _other(line: str, story: Story, screen: Lines, verbose: bool, others: bool) -> None:
    noise = is_noise(line) or not line.strip()
    if not noise:
        story.tail = [*story.tail[-19:], plain(line)]
    if verbose or (others and not noise):
        screen.line(plain(line))


class RunBar(Lines):
    """The view of a training, or of work over images, on a terminal: a bar over all of it below the lines."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.score = ""
        self.bar = ProgressBar(
            TimeElapsedColumn(table_column=Column(no_wrap=True, min_width=_ELAPSED)),
            BarColumn(bar_width=None),
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
            console=console,
            transient=True,
            expand=True,
        )
        self.task: TaskID | None = None

    @override
    def __enter__(self) -> "RunBar":
        self.bar.start()
        self.task = self.bar.add_task("waiting for the job to begin", total=None)
        return self

    @override
    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    @override
    def waiting(self, text: str) -> None:
        assert self.task is not None
        self.bar.update(self.task, description=f"waiting for {text}")

    @override
    def progress(self, progress: Progress) -> None:
        assert self.task is not None
        parts = {
            place(progress): 0,
            f"{progress.images_per_s:.0f} images/s": 4,
            f"loss {progress.loss:.3f}": 3,
            self.score: 2,
            f"{format_duration(progress.eta_s)} left": 1,
            data_wait_words(progress.data_wait).strip(): 5,
        }
        self.bar.update(
            self.task,
            completed=(progress.epoch - 1) * progress.steps + progress.step,
            total=progress.epochs * progress.steps,
            description=fitting(parts, self.console.width - _BESIDE),
        )

    @override
    def images(self, progress: ImageProgress) -> None:
        assert self.task is not None
        parts = {part: number for number, part in enumerate(progress.words.split(", "))}
        words = fitting(parts, self.console.width - _BESIDE)
        self.bar.update(self.task, completed=progress.done, total=progress.total, description=words)

    @override
    def epoch(self, summary: EpochSummary) -> None:
        super().epoch(summary)
        first = scores(summary.validation)[:1]
        self.score = "".join(f"{metric.name} {metric.show(value, 1)}" for metric, value in first)


def fitting(parts: Mapping[str, int], width: int) -> str:
    """The parts of a line that fit into so many columns, in their order; the last to go is that of the lowest number.

    The one that is numbered 0 stays in any case.
    """
    kept = [part for part in parts if part]
    while len("  ".join(kept)) > width and len(kept) > 1:
        kept.remove(max(kept, key=lambda part: parts[part]))
    return "  ".join(kept)
