import io
import re
from math import inf
from typing import Any

import pytest
from rich.console import Console

from scenerec.commands.screen.live import tell
from scenerec.commands.screen.live_search import SearchTable, show_search_result, shown_trials
from scenerec.job_log import EpochSummary, Note, Progress, RunResult, SearchNews, TrialNews, Waiting, format_line


def trial(number: int, state: str, epoch: int, best: float | None, reason: str | None = None) -> TrialNews:
    return TrialNews(number, state, epoch, 9, "val_top1", best, best, f"resnet18, lr 0.{number}", reason)


LOG = [
    format_line(Note("2 trial(s) at once")),
    format_line(trial(0, "running", 0, None)),
    format_line(trial(0, "running", 1, 0.25)),
    format_line(trial(0, "running", 1, 0.25)),
    format_line(trial(1, "failed", 0, None, "the loss is nan")),
    format_line(trial(0, "stopped", 1, 0.25)),
    format_line(SearchNews(2, 12, 1, 0, 0.25, "val_top1", 1.0, 18.0, inf)),
    format_line(Progress(1, 2, 10, 17, 231.4, 1.2345, 0.1, 72)),
    format_line(EpochSummary(1, 2, 2.5, {"val_loss": 2.25, "val_top1": 0.5, "val_top5": 0.875}, 200, 0.1)),
]
RESULT: dict[str, Any] = {
    "search": "s3://scenes/runs/rooms",
    "trials": {"finished": 3, "stopped": 8, "failed": 1, "refused": 0},
    "best": {"trial": 4, "epochs": 9, "values": {"val_top1": 0.75}, "point": {"model.arch": "resnet18"}},
    "pareto": [],
    "savings": "8 of 12 trials stopped early: 40 of 108 epochs run, 63% saved",
    "config": "s3://scenes/runs/rooms/train.yaml",
    "report": "s3://scenes/runs/rooms/report.html",
}


def told(lines: list[str], terminal: bool, width: int = 110) -> str:
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=width, color_system=None, _environ={"TERM": "xterm"})
    tell(lines, console, SearchTable)
    return output.getvalue()


def test_lines_tell_each_change_once() -> None:
    lines = told(LOG, terminal=False).splitlines()
    assert lines[0] == "2 trial(s) at once"
    assert sum("trial 0   running  epoch 1/9  val_top1 25.00%" in line for line in lines) == 1
    assert any("failed" in line and line.endswith("the loss is nan") for line in lines)
    assert any(
        "2 of 12 trials, 1 running, best val_top1 25.00% (trial 0), 1 epochs run (18 without" in x for x in lines
    )
    assert any("50.00%" in line for line in lines)  # the best config in full


def test_a_terminal_shows_a_table_that_is_drawn_anew() -> None:
    text = told(LOG[:7], terminal=True)
    assert "TRIAL  STATE" in text and "2 of 12 trials" in text
    assert "the loss is nan" in text  # a failure stays to be read
    assert "the best config in full: epoch 1/2 step 10/17" in told(LOG, terminal=True)


def test_running_trials_come_first_then_the_best() -> None:
    seen = [
        trial(0, "stopped", 1, 0.2),
        trial(1, "failed", 0, None),
        trial(2, "finished", 9, 0.9),
        trial(3, "running", 1, 0.1),
        trial(4, "stopped", 3, 0.5),
    ]
    assert [news.number for news in shown_trials(seen)] == [3, 2, 4, 0, 1]
    assert [news.number for news in shown_trials(seen, most=2)] == [3, 2]


def test_the_result_says_what_to_do_with_it() -> None:
    output = io.StringIO()
    console = Console(file=output, width=110, color_system=None)
    show_search_result(
        {**RESULT, "retrained": {"run": "s3://r", "best": {"val_top1": 0.8}, "bundle": "s3://b"}}, console
    )
    text = output.getvalue()
    for words in ("trial 4: val_top1 75.00%, 9 epochs", "resnet18", "3 finished, 8 stopped, 1 failed", "63% saved"):
        assert words in text
    assert "train.yaml" in text and "top-1 80.00%: s3://r" in text and "s3://b" in text


def test_the_result_is_kept_for_scripts() -> None:
    console = Console(file=io.StringIO(), width=110)
    assert tell([*LOG, format_line(RunResult(RESULT))], console, SearchTable).result == RESULT


@pytest.mark.parametrize("width", [80, 60, 40])
def test_a_narrow_terminal_gets_fewer_columns_but_none_cut(width: int) -> None:
    text = told(LOG[:7], terminal=True, width=width)
    frame = re.sub(r"\x1b\[[0-9?]*[A-Za-z]|\r", "\n", text)
    table = [line for line in frame.split("\n") if line.startswith(("TRIAL", "    0"))]
    assert table and all(len(line) <= width for line in table)
    assert "…" not in frame
    assert [heading in frame for heading in ("NOW", "EPOCH", "WHAT", "BEST")] == [
        width >= 64, width >= 50, width >= 44, True
    ]  # fmt: skip


def test_it_says_what_it_waits_for() -> None:
    waiting = format_line(Waiting("room for a trial"))
    assert told([waiting], terminal=False) == "waiting for room for a trial\n"
    text = told([waiting], terminal=True)
    assert "waiting for room for a trial" in text
    assert "waiting for the first trial" in told([], terminal=True)
