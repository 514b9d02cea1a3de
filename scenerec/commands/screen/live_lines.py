"""A job's log in plain lines, for files and pipes: the trainings and searches that it tells of."""

from collections.abc import Sequence

from rich.console import Console

from scenerec.job_log import EpochSummary, ImageProgress, Progress, SearchNews, TrialNews, format_duration
from scenerec.search.objectives import format_value
from scenerec.training.task import VAL_LOSS, scores


class Lines:
    """Shows a job's events line by line, for files and pipes. Base of the views for terminals, which redraw."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.rows = 0
        self.trials: dict[int, TrialNews] = {}
        self.ended = 0

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None: ...

    def line(self, text: str) -> None:
        """Shows a line that stays."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def waiting(self, text: str) -> None:
        """Shows what the job waits for."""
        self.line(f"waiting for {text}")

    def progress(self, progress: Progress) -> None:
        """Shows where a training is."""
        self.line(progress_words(progress))

    def images(self, progress: ImageProgress) -> None:
        """Shows how far work over images is."""
        self.line(progress.words)

    def epoch(self, summary: EpochSummary) -> None:
        """Shows a finished epoch."""
        headings, values = zip(*_epoch_cells(summary), strict=True)
        if not self.rows:
            self.line(self._fitting(headings))
        self.rows += 1
        self.line(self._fitting(values))

    def _fitting(self, cells: Sequence[str]) -> str:
        """A row of as many cells as fit the terminal, from the left; of all in a file or a pipe."""
        while self.console.is_terminal and len(cells) > 1 and len("  ".join(cells)) > self.console.width:
            cells = cells[:-1]
        return "  ".join(cells)

    def trial(self, news: TrialNews) -> None:
        """Shows how a trial stands, where that is new."""
        if news != self.trials.get(news.number):
            self.line(trial_line(news))
        self.trials[news.number] = news

    def search(self, news: SearchNews) -> None:
        """Shows how the search stands, where another trial has ended."""
        if news.ended > self.ended:
            self.line(f"  {summary(news)}")
        self.ended = news.ended


def trial_line(news: TrialNews) -> str:
    """Says a trial's state, epoch, value and settings in a line."""
    now, best = (format_value(news.objective, value) for value in (news.value, news.best))
    reason = f": {news.reason}" if news.reason else ""
    return (
        f"trial {news.number:<3} {news.state:<8} epoch {news.epoch}/{news.epochs}  {news.objective} {now} "
        f"(best {best})  {news.point}{reason}"
    )


def summary(news: SearchNews) -> str:
    """Says how a search stands: `5 of 12 trials, 2 running, best val_top1 84.21% (trial 3), ..., 4m10s left`."""
    best = f", best {news.objective} {format_value(news.objective, news.best)} (trial {news.best_trial})"
    return (
        f"{news.ended} of {news.trials} trials, {news.running} running{best if news.best is not None else ''}, "
        f"{news.epochs:.0f} epochs run ({news.full_epochs:.0f} without stopping), {format_duration(news.eta_s)} left"
    )


def progress_words(progress: Progress) -> str:
    """Says in a line where a training is."""
    return (
        f"{place(progress)}  {progress.images_per_s:.1f} images/s{data_wait_words(progress.data_wait)}  "
        f"loss {progress.loss:.4f}  lr {progress.lr:.4g}  {format_duration(progress.eta_s)} left"
    )


def epoch_words(summary: EpochSummary) -> str:
    """Says in a line what a finished epoch came to."""
    shown = "".join(f"  {metric.name} {metric.show(value)}" for metric, value in scores(summary.validation))
    return (
        f"{summary.epoch}/{summary.epochs}  train loss {summary.train_loss:.4f}  "
        f"val loss {summary.validation[VAL_LOSS.key]:.4f}{shown}  {summary.images_per_s:.1f} images/s"
        f"{data_wait_words(summary.data_wait)}"
    )


def data_wait_words(share: float | None) -> str:
    """Says after other words how much of its time training waits for data; nothing where that is not known."""
    return "" if share is None else f"  data wait {share:.0%}"


def place(progress: Progress) -> str:
    """Says where a training is: `epoch 2/3 step 4/9`."""
    width = len(str(progress.steps))
    return f"epoch {progress.epoch}/{progress.epochs} step {progress.step:>{width}}/{progress.steps}"


def _epoch_cells(summary: EpochSummary) -> list[tuple[str, str]]:
    """Heading and value of each cell of an epoch's row, of the same width."""
    columns = [
        ("epoch", 9, f"{summary.epoch}/{summary.epochs}"),
        ("train loss", 10, f"{summary.train_loss:.4f}"),
        ("val loss", 9, f"{summary.validation[VAL_LOSS.key]:.4f}"),
        *((metric.name, 7, metric.show(value)) for metric, value in scores(summary.validation)),
        ("images/s", 9, f"{summary.images_per_s:.1f}"),
        ("lr", 9, f"{summary.lr:.4g}"),
    ]
    if summary.data_wait is not None:
        columns.append(("wait", 5, f"{summary.data_wait:.0%}"))
    if summary.fetched_bytes_per_s is not None:
        columns.append(("MB/s", 7, f"{summary.fetched_bytes_per_s / 1e6:.1f}"))
    return [(f"{heading:>{width}}", f"{value:>{width}}") for heading, width, value in columns]
