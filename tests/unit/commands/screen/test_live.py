import io
import re
from typing import Any

import pytest
from rich.console import Console

from scenerec.commands.screen.live import RunBar, Story, fitting, is_noise, show_run_result, tell
from scenerec.job_log import EpochSummary, Failure, ImageProgress, Note, Progress, RunResult, Waiting, format_line
from scenerec.json_object import JsonObject

RAY = [
    "2026-11-23 21:27:21,065\tINFO job_manager.py:581 -- Runtime env is setting up.",
    "Running entrypoint for job run-9ef28f: python -m jobs.train config.yaml",
    "(TrainController pid=23084) Requesting resources: {'CPU': 1} * 1",
    "\x1b[36m(RayTrainWorker pid=23163, ip=10.0.0.2)\x1b[0m Setting up process group for: env:// [rank=0]",
    "[2026-11-23 21:38:50,384 W 23084 23116] rpc_client.h:638: Failed to connect",
    "2026-11-23 21:38:50.384123: I tensorflow/core/util/port.cc:153] oneDNN custom operations are on.",
]
WORKER = "(RayTrainWorker pid=23163) "
RESULT: dict[str, Any] = {
    "run": "s3://scenes/runs/first",
    "best": {"epoch": 1, "val_top1": 0.5, "val_top5": 0.75},
    "last": {"epoch": 2, "val_top1": 0.25, "val_top5": 0.5},
    "best_checkpoint": "s3://scenes/runs/first/checkpoints/step-000000017",
}
LOG = [
    *RAY,
    WORKER + format_line(Note("training from the beginning on 1 worker(s)")),
    WORKER + format_line(Progress(1, 2, 10, 17, 231.4, 1.2345, 0.1, 72)),
    WORKER + format_line(EpochSummary(1, 2, 2.5, {"val_loss": 2.25, "val_top1": 0.5, "val_top5": 0.875}, 200, 0.1)),
    "a line of somebody's own",
    WORKER + format_line(EpochSummary(2, 2, 1.5, {"val_loss": 1.25, "val_top1": 0.625, "val_top5": 1}, 210, 0.05)),
    format_line(RunResult(RESULT)),
]


def shown(lines: list[str], terminal: bool = False, width: int = 80, **options: bool) -> tuple[str, Story]:
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=width, color_system=None, _environ={"TERM": "xterm"})
    story = tell(lines, console, RunBar, **options)
    return output.getvalue(), story


@pytest.mark.parametrize("line", RAY)
def test_what_ray_and_the_frameworks_write_is_noise(line: str) -> None:
    assert is_noise(line)


@pytest.mark.parametrize("line", ["Traceback (most recent call last):", "ValueError: x", "hello", '  File "x", line 1'])
def test_the_jobs_own_lines_are_not(line: str) -> None:
    assert not is_noise(line)


def test_work_over_images_is_a_line_or_a_bar() -> None:
    log = [format_line(event) for event in (ImageProgress(3, 9, 1.5), ImageProgress(6, 9, 1.5, 2), RunResult({}))]
    assert shown(log)[0].splitlines() == ["3 of 9 images, 2 images/s", "6 of 9 images, 2 images/s, 2s left"]
    bar = shown(log, terminal=True)[0]
    assert "6 of 9 images  2 images/s  2s left" in bar and "━" in bar


def test_plain_lines() -> None:
    text, story = shown(LOG)
    assert text.splitlines() == [
        "training from the beginning on 1 worker(s)",
        "epoch 1/2 step 10/17  231.4 images/s  loss 1.2345  lr 0.1  1m12s left",
        "    epoch  train loss   val loss    top-1    top-5   images/s         lr",
        "      1/2      2.5000     2.2500   50.00%   87.50%      200.0        0.1",
        "      2/2      1.5000     1.2500   62.50%  100.00%      210.0       0.05",
    ]
    assert story == Story(result=RESULT, tail=["a line of somebody's own"])


WAITING_FOR_DATA = [
    WORKER + format_line(Progress(1, 2, 10, 17, 231.4, 1.2345, 0.1, 72, 0.123)),
    WORKER + format_line(EpochSummary(1, 2, 2.5, {"val_loss": 2.25, "val_top1": 0.5}, 200, 0.1, 0.0512, 12.34e6)),
]


def test_the_wait_for_data_is_shown() -> None:
    assert shown(WAITING_FOR_DATA)[0].splitlines() == [
        "epoch 1/2 step 10/17  231.4 images/s  data wait 12%  loss 1.2345  lr 0.1  1m12s left",
        "    epoch  train loss   val loss    top-1   images/s         lr   wait     MB/s",
        "      1/2      2.5000     2.2500   50.00%      200.0        0.1     5%     12.3",
    ]
    assert "  1m12s left  data wait 12%" in shown(WAITING_FOR_DATA, terminal=True, width=90)[0]
    assert "data wait" not in shown(WAITING_FOR_DATA, terminal=True, width=70)[0]


def test_others_and_verbose_show_more() -> None:
    assert "a line of somebody's own" in shown(LOG, others=True)[0].splitlines()
    assert "Requesting" not in shown(LOG, others=True)[0]
    assert (
        "(TrainController pid=23084) Requesting resources: {'CPU': 1} * 1" in shown(LOG, verbose=True)[0].splitlines()
    )


def test_a_terminal_gets_a_bar_that_fits_and_the_same_rows() -> None:
    text, story = shown(LOG, terminal=True)
    assert story.result == RESULT
    assert "epoch 1/2 step 10/17  231 images/s  loss 1.234  1m12s left" in text
    assert "      1/2      2.5000     2.2500   50.00%   87.50%      200.0        0.1" in text
    assert "…" not in text


LONG = [
    WORKER + format_line(Waiting("torch on 2 workers: 1 CPU each, 0 of 2 free")),
    WORKER
    + format_line(EpochSummary(11, 12, 2.5, {"val_loss": 2.25, "val_top1": 0.5, "val_top5": 1}, 1234.5, 0.00123)),
    WORKER + format_line(Progress(12, 12, 1000, 1000, 1231.4, 1.2345, 0.1, 72)),
]


@pytest.mark.parametrize("width", [120, 80, 72, 60, 40, 24])
def test_a_narrow_terminal_gets_less_but_nothing_broken(width: int) -> None:
    text, _ = shown(LONG, terminal=True, width=width)
    lines = [line for line in re.sub(r"\x1b\[[0-9?]*[A-Za-z]", "\n", text).replace("\r", "\n").split("\n") if line]
    assert max(map(len, lines)) <= width
    bars = [line for line in lines if line.startswith("0:00:0")]
    assert bars and all(re.match(r"0:00:0\d ", line) for line in bars)
    assert "epoch 12/12" in text and ("epoch 12/12 step 1000/1000" in text) == (width > 24)


def test_what_is_least_needed_goes_first() -> None:
    parts = {"epoch 1/2 step 3/9": 0, "231 images/s": 4, "loss 1.234": 3, "top-1 50.0%": 2, "1m left": 1}
    assert fitting(parts, 80) == "epoch 1/2 step 3/9  231 images/s  loss 1.234  top-1 50.0%  1m left"
    assert fitting(parts, 60) == "epoch 1/2 step 3/9  loss 1.234  top-1 50.0%  1m left"
    assert fitting(parts, 30) == "epoch 1/2 step 3/9  1m left"
    assert fitting(parts, 5) == "epoch 1/2 step 3/9"


def test_it_says_what_it_waits_for() -> None:
    waiting = [WORKER + format_line(Waiting("torch on 2 workers: 1 CPU each, 0 of 2 free"))]
    assert shown(waiting)[0] == "waiting for torch on 2 workers: 1 CPU each, 0 of 2 free\n"
    text, _ = shown(waiting, terminal=True)
    assert "waiting for the job to begin" in text
    assert "waiting for torch on 2 workers: 1 CPU each, 0 of 2 free" in text


def test_errors_are_kept_for_the_end() -> None:
    text, story = shown([*RAY, WORKER + format_line(Failure("the loss is nan"))])
    assert (text, story.errors) == ("", ["the loss is nan"])


def test_only_the_newest_lines_are_kept() -> None:
    _, story = shown([f"line {number}" for number in range(100)])
    assert story.tail == [f"line {number}" for number in range(80, 100)]


def test_brackets_are_no_markup() -> None:
    assert shown(["[red]not a colour[/red] {x}"], others=True)[0] == "[red]not a colour[/red] {x}\n"


@pytest.mark.parametrize(
    ("usage", "words"),
    [
        ({"node_hours": 0.0044, "node_hours_wasted": 0.0, "restarts": 0}, "0.0044"),
        (
            {"node_hours": 12.5, "node_hours_wasted": 0.25, "restarts": 2, "cost": 1409.6, "currency": "USD"},
            "12.5, of which 0.25 wasted by 2 restart(s); 1,409.60 USD",
        ),
    ],
)
def test_the_result_says_what_the_training_took(usage: JsonObject, words: str) -> None:
    output = io.StringIO()
    show_run_result({"usage": usage}, Console(file=output, width=40))
    assert output.getvalue() == f"node-hours       {words}\n"


def test_the_result_says_what_ten_crops_found_beside_one() -> None:
    output = io.StringIO()
    show_run_result({"ten_crops": {"top1": 0.8125, "top1_center_crop": 0.8}}, Console(file=output, width=40))
    assert output.getvalue() == "ten crops        top-1 81.25%, by the centre alone 80.00%\n"
    show_run_result({"ten_crops": None}, Console(file=output, width=40))  # it has failed
    assert len(output.getvalue().splitlines()) == 1


def test_the_result() -> None:
    output = io.StringIO()
    show_run_result(RESULT, Console(file=output, width=40))
    assert output.getvalue().splitlines() == [
        "best             top-1 50.00%, top-5 75.00%, epoch 1",
        "last             top-1 25.00%, top-5 50.00%, epoch 2",
        "best checkpoint  s3://scenes/runs/first/checkpoints/step-000000017",
        "run              s3://scenes/runs/first",
    ]
