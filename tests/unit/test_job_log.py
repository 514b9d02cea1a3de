import json
import math
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.epoch_metrics import EpochMetrics
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
    format_duration,
    format_line,
    parse_line,
)

counts = st.integers(1, 10**9)
numbers = st.floats(allow_nan=False)
shares = st.none() | numbers
images = st.builds(ImageProgress, counts, counts, numbers, shares)
progresses = st.builds(Progress, counts, counts, counts, counts, numbers, numbers, numbers, numbers, shares)
metrics = st.fixed_dictionaries({"val_loss": numbers, "val_top1": numbers, "val_top5": numbers})
epochs = st.builds(EpochSummary, counts, counts, numbers, metrics, numbers, numbers, shares, shares)
prefixes = st.sampled_from(
    [
        "",
        "(RayTrainWorker pid=123) ",
        "(RayTrainWorker pid=9, ip=10.0.0.2) ",
        "\x1b[36m(TrainController pid=7)\x1b[0m ",
    ]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


TRIAL = TrialNews(3, "failed", 1, 9, "val_top1", 0.25, 0.5, "resnet18, lr 0.1", "the loss is nan: lower optimize.lr")
SEARCH = SearchNews(2, 12, 1, 0, 0.5, "val_top1", 3.0, 27.0, math.inf)


def values(event: Progress | EpochSummary | ImageProgress) -> dict[str, int | float | None]:
    return event.as_dict() if isinstance(event, EpochSummary) else asdict(event)


def rounded(event: Progress | EpochSummary | ImageProgress) -> dict[str, float | None]:
    return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in values(event).items()}


@given(progresses | epochs | images, prefixes)
def test_numbers_come_back_with_six_digits(event: Progress | EpochSummary | ImageProgress, prefix: str) -> None:
    parsed = parse_line(prefix + format_line(event) + "\n")
    assert type(parsed) is type(event)
    assert values(parsed) == rounded(event)  # type: ignore[arg-type]


@pytest.mark.slow
@given(st.dictionaries(st.text(), json_values), prefixes)
def test_results_come_back_exactly(content: dict, prefix: str) -> None:
    line = format_line(RunResult(content))
    assert "\n" not in line
    assert parse_line(prefix + line) == RunResult(content)


@given(st.text(), prefixes)
def test_a_note_is_one_line(text: str, prefix: str) -> None:
    line = format_line(Note(text))
    assert len(line.splitlines()) == 1
    assert parse_line(prefix + line) == Note(" ".join(text.split()))


@given(st.text())
def test_any_line_is_parsed_or_left_alone(line: str) -> None:
    parse_line(line)


def test_a_diverged_run_still_reports() -> None:
    parsed = parse_line(format_line(Progress(1, 1, 1, 1, math.inf, math.nan, 0.1, 3)))
    assert isinstance(parsed, Progress)
    assert math.isnan(parsed.loss)
    assert parsed.images_per_s == math.inf


def test_the_format_is_the_documented_one() -> None:
    assert format_line(Progress(2, 3, 10, 17, 231.4, 1.2345, 0.1, 12)) == (
        "[progress] epoch=2/3 step=10/17 images_per_s=231.4 loss=1.2345 lr=0.1 eta_s=12"
    )
    validation = {"val_loss": 2.25, "val_top1": 0.5, "val_top5": 0.875}
    assert format_line(EpochSummary(1, 3, 2.5, validation, 200, 0.1)) == (
        "[epoch] epoch=1/3 train_loss=2.5 val_loss=2.25 val_top1=0.5 val_top5=0.875 images_per_s=200 lr=0.1"
    )


@given(st.builds(Restart, counts, counts, st.text()), prefixes)
def test_a_restart_comes_back(restart: Restart, prefix: str) -> None:
    assert parse_line(prefix + format_line(restart)) == restart


@given(prefixes)
def test_the_epoch_line_of_another_task_is_read_back(prefix: str) -> None:
    metrics = EpochMetrics(epoch=2, train_loss=0.5, validation={"val_loss": 0.25, "val_error": 4}, images_per_s=9, lr=1)
    line = format_line(EpochSummary.of(metrics, epochs=3))
    assert line == "[epoch] epoch=2/3 train_loss=0.5 val_loss=0.25 val_error=4 images_per_s=9 lr=1"
    assert parse_line(prefix + line) == EpochSummary.of(metrics, epochs=3)


def test_lines_tell_of_the_wait_for_data_and_of_checkpoints() -> None:
    progress = Progress(2, 3, 10, 17, 231.4, 1.2345, 0.1, 12, data_wait=0.25, checkpoint_s=1.5)
    assert format_line(progress).endswith(" lr=0.1 eta_s=12 data_wait=0.25 checkpoint_s=1.5")
    assert parse_line(format_line(progress)) == progress
    summary = EpochSummary(1, 3, 2.5, {"val_loss": 2.25}, 200, 0.1, data_wait=0.125, fetched_bytes_per_s=5e6)
    assert format_line(summary).endswith(" lr=0.1 data_wait=0.125 fetched_bytes_per_s=5e+06")
    assert parse_line(format_line(summary)) == summary


@pytest.mark.parametrize("news", [TRIAL, SEARCH, replace(TRIAL, value=None, reason=None), replace(SEARCH, eta_s=60.0)])
def test_how_a_search_stands_comes_back(news: TrialNews | SearchNews) -> None:
    assert parse_line(format_line(news)) == news


def test_a_line_of_a_search_is_json() -> None:
    tag, _, content = format_line(SEARCH).partition(" ")
    assert tag == "[search]"
    assert json.loads(content) == {**asdict(SEARCH), "eta_s": None}
    assert format_line(TRIAL) == f"[trial] {json.dumps(asdict(TRIAL))}"


def test_an_error_of_several_lines_is_several_errors() -> None:
    lines = format_line(Failure("a: wrong\nb: wrong too")).splitlines()
    assert [parse_line(line) for line in lines] == [Failure("a: wrong"), Failure("b: wrong too")]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "loss=1",
        "[progress]",
        "[progress] epoch=1/2 step=3",
        "[progress] epoch=a/b step=1/2 images_per_s=1 loss=1 lr=1 eta_s=1",
        "[progress] epoch=1/2 step=1/2 images_per_s=1 loss=1 lr=1 eta_s=1 extra=2",
        "[epoch] epoch=1/2",
        "[result] {",
        "[result] 3",
        "[trial] {",
        "[trial] {}",
        '[search] {"ended": 1}',
        "[trial]",
        "[epoch] epoch=1/2 train_loss=1 val_loss=1 images_per_s=1 lr=1 extra=2",
        "[other] epoch=1/2",
        "x [note] quoted",
    ],
)
def test_other_lines_are_not_events(line: str) -> None:
    assert parse_line(line) is None


def test_result_is_plain_json() -> None:
    assert json.loads(format_line(RunResult({"best": {"val_top1": 0.5}})).removeprefix("[result] ")) == {
        "best": {"val_top1": 0.5}
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0s"), (59.6, "1m00s"), (75, "1m15s"), (5000, "1h23m"), (math.nan, "?"), (-1, "?")],
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
