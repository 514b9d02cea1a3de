"""A job's log in plain lines, for files and pipes: the trainings and searches that it tells of."""

from collections.abc import Sequence

from rich.console import Console

from scenerec.job_log import EpochSummary, Progress, SearchNews, TrialNews, format_duration
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

    def epoch(self, summary: EpochSummary) -> None:
        """Shows a finished epoch."""
        if not self.rows:
            self.line(self._fitting(_epoch_header(summary)))
        self.rows += 1
        self.line(self._fitting(_epoch_row(summary)))

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
        f"{place(progress)}  {progress.images_per_s:.1f} images/s  loss {progress.loss:.4f}  "
        f"lr {progress.lr:.4g}  {format_duration(progress.eta_s)} left"
    )


def epoch_words(summary: EpochSummary) -> str:
    """Says in a line what a finished epoch came to."""
    shown = "".join(f"  {metric.name} {metric.show(value)}" for metric, value in scores(summary.validation))
    return (
        f"{summary.epoch}/{summary.epochs}  train loss {summary.train_loss:.4f}  "
        f"val loss {summary.validation[VAL_LOSS.key]:.4f}{shown}  {summary.images_per_s:.1f} images/s"
    )


def place(progress: Progress) -> str:
    """Says where a training is: `epoch 2/3 step 4/9`."""
    width = len(str(progress.steps))
    return f"epoch {progress.epoch}/{progress.epochs} step {progress.step:>{width}}/{progress.steps}"


def _epoch_header(summary: EpochSummary) -> list[str]:
    names = [f"{metric.name:>7}" for metric, _ in scores(summary.validation)]
    return [f"{'epoch':>9}", f"{'train loss':>10}", f"{'val loss':>9}", *names, f"{'images/s':>9}", f"{'lr':>9}"]


def _epoch_row(summary: EpochSummary) -> list[str]:
    shown = [f"{metric.show(value):>7}" for metric, value in scores(summary.validation)]
    losses = [f"{summary.train_loss:>10.4f}", f"{summary.validation[VAL_LOSS.key]:>9.4f}"]
    place = f"{summary.epoch}/{summary.epochs}"
    return [f"{place:>9}", *losses, *shown, f"{summary.images_per_s:>9.1f}", f"{summary.lr:>9.4g}"]
