from math import nan

import pytest

from scenerec.epoch_metrics import EpochMetrics
from scenerec.step_metrics import StepMetrics
from scenerec.training.run_charts import COLOURS, MOST_POINTS, run_charts


def history(*top1: float, loss: float = 1.0) -> list[EpochMetrics]:
    return [
        EpochMetrics(epoch=number, train_loss=loss, validation={"val_loss": 1.0, "val_top1": value}, lr=0.1)
        for number, value in enumerate(top1, start=1)
    ]


def test_there_is_a_chart_of_each_quantity_that_was_measured() -> None:
    assert [chart.name for chart in run_charts([(history(0.5, 0.6), [])])] == [
        "training loss",
        "validation loss",
        "validation top-1",
        "learning rate",
    ]
    assert run_charts([([], []), ([], [])]) == []


def test_curves_of_a_chart_share_its_axes() -> None:
    chart = run_charts([(history(0.2, 0.4), []), (history(0.2, 0.4, 0.6, 0.8), [])])[2]
    short, long = sorted(chart.curves, key=lambda curve: curve.run)
    assert long.path.startswith(short.path)
    assert long.end[0] == chart.right and short.end[0] < chart.right
    assert chart.top <= long.end[1] < short.end[1] <= chart.bottom
    assert [tick.label for tick in chart.x_ticks] == ["1", "2", "3", "4"]


def test_a_loss_that_is_no_number_is_left_out() -> None:
    diverged = run_charts([(history(0.5, 0.5, loss=nan), [])])
    assert "training loss" not in [chart.name for chart in diverged]


def test_many_runs_share_the_last_colour() -> None:
    colours = {curve.run: curve.colour for curve in run_charts([(history(0.1), [])] * 12)[0].curves}
    assert colours == {run: min(run, COLOURS) for run in range(12)}


def lines(first_epoch: int, epochs: int, steps: int) -> list[StepMetrics]:
    return [
        StepMetrics(
            epoch=epoch,
            step=step,
            steps=steps,
            global_step=(epoch - 1) * steps + step,
            loss=1.0,
            lr=0.1,
            images_per_s=9.0,
            data_wait=0.5,
            time_s=0.0,
        )
        for epoch in range(first_epoch, first_epoch + epochs)
        for step in range(1, steps + 1)
    ]


def test_what_is_known_by_step_is_drawn_by_step() -> None:
    by_step, by_epoch = (run_charts([(history(0.5, 0.6), lines(1, 2, 4))])[index] for index in (0, 2))
    assert by_step.curves[0].path.count("L") == 7 and by_epoch.curves[0].path.count("L") == 1
    assert [tick.label for tick in by_step.x_ticks] == ["0", "1", "2"]
    assert by_step.curves[0].end[0] == by_epoch.curves[0].end[0] == by_step.right  # both end with the second epoch
    assert by_step.curves[0].last == "1 after epoch 2"


def test_epochs_of_an_older_version_are_drawn_before_the_steps() -> None:
    (chart, *_) = run_charts([(history(0.5, 0.6, 0.7), lines(3, 1, 2))])
    assert chart.curves[0].path.count("L") == 3  # epochs 1 and 2, and two lines of the third


@pytest.mark.parametrize("steps", [MOST_POINTS, MOST_POINTS + 1, 5 * MOST_POINTS])
def test_many_steps_are_drawn_as_means_over_some(steps: int) -> None:
    chart = run_charts([([], lines(1, 1, steps))])[0]
    assert chart.curves[0].path.count("L") == MOST_POINTS - 1
    assert chart.curves[0].end[0] == chart.right


def test_a_learning_rate_that_stays_low_for_long_is_drawn_whole() -> None:
    rates = [1.0, *[0.1] * 9]
    epochs = [EpochMetrics(epoch=number, validation={}, lr=rate) for number, rate in enumerate(rates, start=1)]
    chart = run_charts([(epochs, [])])[0]
    assert chart.name == "learning rate" and chart.y_ticks[-1].label == "1"
