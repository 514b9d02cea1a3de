from math import nan

from scenerec.epoch_metrics import EpochMetrics
from scenerec.training.run_charts import COLOURS, run_charts


def history(*top1: float, loss: float = 1.0) -> list[EpochMetrics]:
    return [
        EpochMetrics(epoch=number, train_loss=loss, validation={"val_loss": 1.0, "val_top1": value}, lr=0.1)
        for number, value in enumerate(top1, start=1)
    ]


def test_there_is_a_chart_of_each_quantity_that_was_measured() -> None:
    assert [chart.name for chart in run_charts([history(0.5, 0.6)])] == [
        "training loss",
        "validation loss",
        "validation top-1",
        "learning rate",
    ]
    assert run_charts([[], []]) == []


def test_curves_of_a_chart_share_its_axes() -> None:
    chart = run_charts([history(0.2, 0.4), history(0.2, 0.4, 0.6, 0.8)])[2]
    short, long = sorted(chart.curves, key=lambda curve: curve.run)
    assert long.path.startswith(short.path)
    assert long.end[0] == chart.right and short.end[0] < chart.right
    assert chart.top <= long.end[1] < short.end[1] <= chart.bottom
    assert [tick.label for tick in chart.x_ticks] == ["1", "2", "3", "4"]


def test_a_loss_that_is_no_number_is_left_out() -> None:
    diverged = run_charts([history(0.5, 0.5, loss=nan)])
    assert "training loss" not in [chart.name for chart in diverged]


def test_many_runs_share_the_last_colour() -> None:
    colours = {curve.run: curve.colour for curve in run_charts([history(0.1)] * 12)[0].curves}
    assert colours == {run: min(run, COLOURS) for run in range(12)}
