"""A search on a terminal: a table of its trials while it runs, and what came of it."""

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from typing_extensions import override

from scenerec.commands.screen.live_lines import Lines, place, summary, trial_line
from scenerec.config.space import describe_point
from scenerec.job_log import Progress, SearchNews, TrialNews, format_duration
from scenerec.json_object import JsonObject
from scenerec.search.objectives import format_value, towards_better
from scenerec.training.task import scores

_MOST_ROWS = 16
STYLES = {
    "running": "bold",
    "paused": "default",
    "finished": "green",
    "stopped": "dim",
    "failed": "red",
    "refused": "red",
}
"""The style (of rich) in which a trial is shown, by its state."""


class SearchTable(Lines):
    """The view of a search on a terminal, drawn anew with each news: running trials, then the best that have ended."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.below: SearchNews | Progress | None = None
        self.awaited = "the first trial"
        self.live = Live(self._render(), console=console, transient=True, refresh_per_second=4)

    @override
    def __enter__(self) -> "SearchTable":
        self.live.start()
        return self

    @override
    def __exit__(self, *_: object) -> None:
        self.live.stop()

    @override
    def waiting(self, text: str) -> None:
        self.awaited = text
        self.live.update(self._render())

    @override
    def trial(self, news: TrialNews) -> None:
        """Update the trial's row. One that has ended badly stays as a line as well."""
        if news.state in ("failed", "refused") and news != self.trials.get(news.number):
            self.line(trial_line(news))
        self.trials[news.number] = news
        self.live.update(self._render())

    @override
    def search(self, news: SearchNews) -> None:
        self.below = news
        self.live.update(self._render())

    @override
    def progress(self, progress: Progress) -> None:
        """Show how far the training of the best config in full is, in place of how the search stands."""
        self.below = progress
        self.live.update(self._render())

    @property
    def _bar_width(self) -> int:
        return min(_BAR, self.console.width)

    def _render(self) -> RenderableType:
        if not self.trials:
            return Text(f"waiting for {self.awaited}")
        headings = {name: column for name, column in _COLUMNS.items() if self.console.width >= column}
        table = Table(box=None, pad_edge=False)
        for heading in headings:
            table.add_column(heading, no_wrap=heading != "WHAT", justify="right" if heading in _RIGHT else "left")
        for news in shown_trials(list(self.trials.values())):
            now, best = (format_value(news.objective, value) for value in (news.value, news.best))
            row = {"TRIAL": str(news.number), "STATE": news.state, "EPOCH": f"{news.epoch}/{news.epochs}", "NOW": now}
            row |= {"BEST": best, "WHAT": news.point}
            table.add_row(*(row[heading] for heading in headings), style=STYLES[news.state])
        match self.below:
            case SearchNews() as search:
                bar = ProgressBar(total=search.trials, completed=search.ended, width=self._bar_width)
                return Group(table, Text(), bar, Text(summary(search)))
            case Progress() as progress:
                share = (progress.epoch - 1 + progress.step / progress.steps) / progress.epochs
                bar = ProgressBar(total=1, completed=share, width=self._bar_width)
                left = f"{progress.images_per_s:.0f} images/s, {format_duration(progress.eta_s)} left"
                return Group(table, Text(), bar, Text(f"the best config in full: {place(progress)}, {left}"))
        return table


_BAR = 40
_RIGHT = ("TRIAL", "EPOCH", "NOW", "BEST")
_COLUMNS = {"TRIAL": 0, "STATE": 0, "EPOCH": 50, "NOW": 64, "BEST": 0, "WHAT": 44}
"""The headings, and how wide a terminal must be to have them."""


def shown_trials(seen: list[TrialNews], most: int = _MOST_ROWS) -> list[TrialNews]:
    """Chooses the trials for which the table has rows: the running ones, then the others, the best first."""
    running = [news for news in seen if news.state == "running"]
    others = [news for news in seen if news.state != "running"]
    valued = [(towards_better(news.objective, news.best), news) for news in others if news.best is not None]
    best_first = [news for _, news in sorted(valued, key=lambda pair: pair[0], reverse=True)]
    return [*running, *best_first, *(news for news in others if news.best is None)][:most]


def show_search_result(result: JsonObject, console: Console) -> None:
    """Shows what a search came to, as a table."""
    best, counts = result["best"], result["trials"]
    rows = [
        ("best", f"trial {best['trial']}: {_values(best)}, {best['epochs']} epochs"),
        ("with", describe_point(best["point"])),
        *(("front", f"trial {each['trial']}: {_values(each)}") for each in result["pareto"]),
        ("trials", ", ".join(f"{count} {state}" for state, count in counts.items() if count)),
        ("savings", result["savings"]),
        ("config", result["config"]),
        ("report", result["report"]),
    ]
    if retrained := result.get("retrained"):
        rows.append(("retrained", retrained_words(retrained)))
        if retrained.get("bundle"):
            rows.append(("bundle", retrained["bundle"]))
    for what, value in rows:
        console.print(f"{what:<10} {value}", markup=False, highlight=False, soft_wrap=True)


def retrained_words(retrained: JsonObject) -> str:
    """`top-1 84.21%: s3://scenes/runs/rooms-best`: what training the best config in full came to."""
    shown = ", ".join(f"{metric.name} {metric.show(value)}" for metric, value in scores(retrained["best"])[:1])
    return f"{shown}: {retrained['run']}"


def _values(trial: JsonObject) -> str:
    return ", ".join(f"{name} {format_value(name, value)}" for name, value in trial["values"].items())
