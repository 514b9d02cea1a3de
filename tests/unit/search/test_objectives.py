from typing import get_args

import pytest

from scenerec.config.tune import STATIC, Objective
from scenerec.search.objectives import OBJECTIVES, epoch_metric, format_value, tick_label, towards_better


def test_every_objective_of_a_config_is_known() -> None:
    assert set(OBJECTIVES) == set(get_args(Objective))
    assert {key for key in OBJECTIVES if not key.startswith("val_")} == STATIC


@pytest.mark.parametrize(
    ("objective", "value", "shown"),
    [
        ("val_top1", 0.84213, "84.21%"),
        ("val_loss", 1.23456, "1.235"),
        ("parameters", 11_689_512, "11.7M"),
        ("latency_ms", 3.456, "3.46 ms"),
        ("val_loss", float("nan"), "-"),
        ("val_top1", None, "-"),
    ],
)
def test_values_are_shown_by_their_kind(objective: str, value: float | None, shown: str) -> None:
    assert format_value(objective, value) == shown


def test_more_is_better_after_the_change_of_sign() -> None:
    assert towards_better("val_top5", 0.5) == 0.5
    assert [towards_better(objective, 0.5) for objective in ("val_loss", "latency_ms", "gflops")] == [-0.5] * 3


def test_an_epoch_is_judged_by_what_it_changes() -> None:
    assert [epoch_metric(each, ("val_top1",)) for each in ("val_loss", "gflops")] == ["val_loss", "val_top1"]
    assert epoch_metric("gflops", ("val_loss", "val_knn_top1")) == "val_knn_top1"  # of pretrainings


@pytest.mark.parametrize(
    ("objective", "spread", "label"),
    [("val_top1", 0.3, "25%"), ("val_top1", 0.02, "25.0%"), ("parameters", 1e6, "0M"), ("val_loss", 1, "0.25")],
)
def test_ticks_are_labelled_by_how_far_apart_values_are(objective: str, spread: float, label: str) -> None:
    assert tick_label(objective, spread)(0.25 if objective != "parameters" else 0.0) == label
