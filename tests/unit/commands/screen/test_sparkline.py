"""Curves of one line."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.commands.screen.run_curves import curves
from scenerec.commands.screen.sparkline import ASCII, BLOCKS, sparkline
from scenerec.epoch_metrics import EpochMetrics
from scenerec.step_metrics import StepMetrics


@pytest.mark.parametrize(
    ("values", "width", "drawn"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8], 8, "▁▂▃▄▅▆▇█"),
        ([8, 1], 80, "█▁"),
        ([5, 5, 5], 8, "▅▅▅"),
        ([0, math.nan, 1, math.inf], 8, "▁ █"),
        ([1, 1, 3, 3], 2, "▁█"),
        ([math.nan, 1, 3, math.nan], 2, "▁█"),
        ([0, 1e308, -1e308], 3, "▅█▁"),
        ([math.nan], 4, ""),
        ([], 4, ""),
    ],
)
def test_the_largest_is_the_highest(values: list[float], width: int, drawn: str) -> None:
    assert sparkline(values, width) == drawn


@given(st.lists(st.floats(), max_size=60), st.integers(1, 40))
def test_a_curve_fits_and_its_extremes_are_drawn(values: list[float], width: int) -> None:
    drawn = sparkline(values, width)
    assert len(drawn) <= min(width, len(values)) and set(drawn) <= {*BLOCKS, " "}
    finite = [value for value in values if math.isfinite(value)]
    if len(values) <= width and len({value / 2 for value in finite}) > 1:
        assert {BLOCKS[0], BLOCKS[-1]} <= set(drawn)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", None, "no such encoding"])
def test_a_terminal_without_blocks_has_ascii(encoding: str | None) -> None:
    assert sparkline(range(8), 8, encoding) == ASCII
    assert sparkline(range(8), 8, "utf-8") == BLOCKS


def history(epochs: int) -> list[EpochMetrics]:
    return [
        EpochMetrics(
            epoch=epoch,
            train_loss=2 / epoch,
            validation={"val_loss": 3 / epoch, "val_top1": 1 - 0.9 / epoch, "val_top5": 1.0},
            images_per_s=100 + epoch,
        )
        for epoch in range(1, epochs + 1)
    ]


def test_a_run_has_its_curves() -> None:
    assert curves(history(8), [], 80) == [
        "loss      █▄▂▂▁▁▁▁  2.0000 to 0.2500",
        "val loss  █▄▂▂▁▁▁▁  3.0000 to 0.3750",
        "top-1     ▁▅▇▇████  10.00% to 88.75%",
        "images/s  ▁▂▃▄▅▆▇█  101.0 to 108.0",
    ]


def lines(steps: int) -> list[StepMetrics]:
    return [
        StepMetrics(
            epoch=1, step=step, steps=9, global_step=step, loss=1 / step, lr=0.1, images_per_s=9, data_wait=0, time_s=0
        )
        for step in range(1, steps + 1)
    ]


def test_a_run_in_its_first_epoch_has_a_curve_by_step() -> None:
    assert curves([], lines(4), 80) == ["loss      █▃▁▁  1.0000 to 0.2500", "images/s  ▅▅▅▅  9.0 to 9.0"]
    assert curves(history(2), lines(4), 80)[0] == "loss      █▃▁▁  1.0000 to 0.2500"
    assert curves(history(2), lines(4), 80)[1].startswith("val loss  █▁")


def test_a_run_of_one_epoch_has_none() -> None:
    assert curves(history(1), [], 80) == curves([], lines(1), 80) == []


@given(st.integers(2, 300), st.integers(14, 200))
def test_curves_fit_the_terminal(epochs: int, width: int) -> None:
    drawn = curves(history(epochs), [], width)
    assert [line.split()[0] for line in drawn] == ["loss", "val", "top-1", "images/s"]
    assert max(map(len, drawn)) <= width


def test_words_make_room_before_a_curve_gets_short() -> None:
    of_width = {width: curves(history(100), [], width)[0] for width in (40, 30, 20)}
    assert of_width[40].endswith("  2.0000 to 0.0200") and of_width[30].endswith("  0.0200")
    assert set(of_width[20].removeprefix("loss").strip()) <= set(BLOCKS)
