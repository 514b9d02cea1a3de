"""A bar for work over many images, with its speed."""

import sys
import time
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column


class ProgressBar:
    """A bar on stderr with images per second and the time that is left; nothing where that is no terminal.

    Args:
        title: what is done, while it is done.
        waiting: what is done before the first image.
        stream: where stderr is kept for others, as by `quiet_frameworks`.
        unit: what is counted, where it is not images.
    """

    def __init__(
        self, title: str, waiting: str = "listing", stream: TextIO | None = None, unit: str = "images"
    ) -> None:
        self.title, self.waiting = title, waiting
        self.done = self.total = self.done_before = 0
        self.began_s = 0.0
        console = Console(file=stream, stderr=stream is None)
        columns = {
            TextColumn("{task.description}", table_column=Column(no_wrap=True)): 0,
            BarColumn(bar_width=None): 30,
            MofNCompleteColumn(table_column=Column(no_wrap=True)): 0,
            TextColumn(f"{{task.fields[rate]}} {unit}/s", table_column=Column(no_wrap=True)): 50,
            TimeRemainingColumn(table_column=Column(no_wrap=True)): 40,
        }
        self.bar = Progress(
            *(column for column, least_width in columns.items() if console.width >= least_width),
            console=console,
            expand=True,
            transient=True,
            # What is printed meanwhile appears above the bar; rich would take it to stderr from a pipe or file as well.
            redirect_stdout=sys.stdout.isatty(),
        )
        self.shown = self.bar.console.is_terminal  # elsewhere rich would leave an empty line

    def __enter__(self) -> "ProgressBar":
        if self.shown:
            self.bar.start()
        self.task = self.bar.add_task(self.waiting, total=None, rate="-")
        return self

    def __exit__(self, *_: object) -> None:
        if self.shown:
            self.bar.stop()

    def show(self, done: int, total: int) -> None:
        """Shows how many of how many are done.

        What is done at the first call, as by an earlier run, does not count as speed.
        """
        if not self.total:
            self.began_s, self.done_before = time.monotonic(), done
            self.bar.reset(self.task, total=total, completed=done, description=self.title)
        self.done, self.total = done, total
        rate = (done - self.done_before) / max(time.monotonic() - self.began_s, 1e-9)
        self.bar.update(self.task, completed=done, rate=f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}")
