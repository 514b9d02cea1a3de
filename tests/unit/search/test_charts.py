"""Where marks lie; how they look, the eye must judge."""

import re

import pytest

from scenerec.epoch_metrics import EpochMetrics
from scenerec.search import charts
from scenerec.search.parallel import parallel
from scenerec.search.standing import leaderboard, pareto_front
from tests.tiny_search import MakeSearch, invented

TOP1 = ("val_top1",)
BOTH = ("val_top1", "latency_ms")


def test_curves_have_the_best_on_top_and_a_dot_where_they_were_stopped() -> None:
    trials = [invented(0, 0.2, 0.7), invented(1, 0.3, state="stopped"), invented(2, 0.1, None, 0.5), invented(3)]
    ranked = leaderboard(trials, TOP1)
    chart = charts.curves(ranked, TOP1, ranked[0])
    assert chart is not None
    assert [(mark.trial, mark.kind, mark.x is not None) for mark in chart.marks] == [
        (1, "stopped", True),
        (2, "other", False),
        (0, "best", False),
    ]
    assert chart.marks[1].path.count("L") == 1  # an epoch without a value is left out
    assert charts.curves([invented(0)], TOP1, None) is None


def test_a_loss_that_shoots_up_does_not_press_down_the_others() -> None:
    trials = [invented(n, *[0.5, 0.6, 0.7]) for n in range(4)]
    wild = trials[0].model_copy(
        update={"number": 9, "history": (EpochMetrics(epoch=1, validation={"val_top1": 0.1, "val_loss": 1e9}),)}
    )
    chart = charts.curves([*trials, wild], ("val_loss",), trials[0])
    assert chart is not None
    ys = {at for mark in chart.marks for at in re.findall(r" ([\d.]+)", mark.path)}
    assert max(map(float, ys)) - min(float(at) for at in ys if float(at) > 20) > 20


def test_of_many_trials_the_best_and_a_sample_are_drawn() -> None:
    ranked = leaderboard([invented(number, number / 2000) for number in range(1000)], TOP1)
    drawn = charts.chosen(ranked, 100)
    assert len(drawn) == len({trial.number for trial in drawn}) == 100
    assert drawn[:50] == ranked[:50]
    assert ranked.index(drawn[-1]) > 980
    assert charts.chosen(ranked[:7], 100) == ranked[:7]


def test_the_front_is_marked_and_joined() -> None:
    found = [(0.9, 80.0), (0.8, 20.0), (0.7, 30.0), (0.6, 5.0)]
    trials = [invented(n, top1, static={"latency_ms": ms}) for n, (top1, ms) in enumerate(found)]
    ranked, front = leaderboard(trials, BOTH), pareto_front(trials, BOTH)
    chart = charts.pareto(ranked, front, BOTH, "latency_ms", ranked[0])
    assert chart is not None
    assert {mark.trial: mark.kind for mark in chart.marks} == {0: "best", 1: "front", 2: "other", 3: "front"}
    assert chart.staircase.count("L") == 4
    assert charts.pareto([invented(0)], [], BOTH, "latency_ms", None) is None


def test_a_line_passes_each_axis_and_dips_where_it_has_no_value(make_search: MakeSearch) -> None:
    config = make_search()
    points = [
        {"model.arch": "resnet18", "optimize.lr": 1.0, "optimize.schedule": "cosine"},
        {"model.arch": "resnet18", "optimize.lr": 0.001, "optimize.schedule": "step", "optimize.step_gamma": 0.5},
    ]
    trials = [invented(0, 0.9, point=points[0]), invented(1, state="failed", point=points[1])]
    chart = parallel(config.search, leaderboard(trials, TOP1), TOP1)
    assert chart is not None and chart.none_at is not None
    assert [axis.name for axis in chart.axes] == ["arch", "lr", "schedule", "step_gamma", "top-1"]
    of = {line.trial: [float(at) for at in re.findall(r" ([\d.]+)(?=[SC]|$)", line.path)] for line in chart.lines}
    assert of[0][1] == chart.top and of[1][1] == chart.bottom
    assert of[0][3] == of[1][4] == chart.none_at
    assert {line.trial: line.kind for line in chart.lines} == {0: "q5", 1: "failed"}
    assert parallel(config.search, [], TOP1) is None


@pytest.mark.parametrize("objective", ["val_top1", "val_loss"])
def test_the_better_the_higher_and_the_stronger(make_search: MakeSearch, objective: str) -> None:
    trials = [invented(number, number / 10, point={}) for number in range(10)]
    chart = parallel(make_search().search, leaderboard(trials, [objective]), [objective])
    assert chart is not None
    shades = [line.kind for line in sorted(chart.lines, key=lambda line: line.trial)]
    assert shades == sorted(shades) and shades[0] == "q0" and shades[-1] == "q5"
    heights = [float(line.path.rpartition(" ")[2]) for line in sorted(chart.lines, key=lambda line: line.trial)]
    assert heights == sorted(heights, reverse=True)
    assert sum(height for _, height, _ in chart.scale) == pytest.approx(chart.bottom - chart.top, abs=1)


def test_fields_of_the_same_last_part_have_their_whole_names(make_search: MakeSearch) -> None:
    config = make_search(search={"optimize.epochs": [3, 4], "data.augment.flip": [True, False]})
    trials = [invented(0, 0.5, point={"optimize.epochs": 3, "data.augment.flip": False})]
    chart = parallel({**config.search, "retrain.epochs": config.search["optimize.epochs"]}, trials, TOP1)
    assert chart is not None
    assert [axis.name for axis in chart.axes] == ["optimize.epochs", "flip", "retrain.epochs", "top-1"]


def test_long_names_that_differ_at_their_ends_stay_apart(make_search: MakeSearch) -> None:
    config = make_search(search={"model.arch": ["shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "resnet18"]})
    chart = parallel(config.search, [invented(0, 0.5, point={"model.arch": "resnet18"})], TOP1)
    assert chart is not None
    assert [tick.label for tick in chart.axes[0].ticks] == ["shuffle…_v2_x0_5", "shuffle…_v2_x1_0", "resnet18"]
