from typing import Any

import pytest

from scenerec.search.levels import most_epochs, rung_time, rung_times, trial_levels
from tests.tiny_search import MakeSearch


def test_by_epochs_a_trial_is_one_run(make_search: MakeSearch) -> None:
    config = make_search()
    (level,) = trial_levels(config, 7, {"optimize.lr": 0.5})
    assert level.config.run_url == f"{config.run_url}/trials/0007"
    assert (level.number, level.cost, level.config.optimize.lr, level.config.kind) == (1, 1.0, 0.5, "train")
    (part,) = trial_levels(config, 7, {}, part=2)
    assert part.config.name == "0007.part-2"
    assert rung_times(config, 9) == (1, 9)
    assert rung_times(make_search(scheduler={"kind": "asha", "grace_epochs": 20}), 9) == (9, 9)


def test_resolutions_rise_to_that_of_the_point(make_search: MakeSearch) -> None:
    config = make_search(budget={"by": "resolution", "levels": [0.25, 0.5, 1]})
    levels = trial_levels(config, 1, {"data.image_size": 128})
    assert [level.config.data.image_size for level in levels] == [32, 64, 128]
    assert {level.config.data.train_size for level in levels} == {None}
    smaller = trial_levels(config, 1, {"data.image_size": 128, "data.train_size": 96})
    assert [level.config.data.train_size for level in smaller] == [24, 48, 96]
    assert [level.cost for level in levels] == [1 / 16, 1 / 4, 1]
    assert [level.config.name for level in levels] == ["0001.level-1", "0001.level-2", "0001.level-3"]
    assert rung_times(config, 9) == (1, 9)
    assert [rung_time(config, level.number) for level in levels] == [1, 3, 9]


def test_no_level_is_smaller_than_the_architecture_takes(make_search: MakeSearch) -> None:
    config = make_search(
        budget={"by": "resolution", "levels": [0.1, 1]},
        search={"model.arch": ["inception_v3"]},
        base={**BASE, "data": {**BASE["data"], "image_size": 128}},
    )
    small, full = trial_levels(config, 0, {"model.arch": "inception_v3"})
    assert small.config.data.image_size == 75 and full.config.data.image_size == 128


BASE: dict[str, Any] = {
    "framework": "torch",
    "data": {"train": "/data/train", "val": "/data/val", "image_size": 64, "train_share": 0.5},
    "model": {"arch": "resnet18"},
    "optimize": {"epochs": 9, "global_batch_size": 16, "lr": 0.05},
}


def test_shares_of_the_data_are_of_the_points_own(make_search: MakeSearch) -> None:
    config = make_search(budget={"by": "data", "levels": [0.5, 1]}, base=BASE)
    levels = trial_levels(config, 0, {})
    assert [level.config.data.train_share for level in levels] == [0.25, 0.5]
    assert [level.cost for level in levels] == [0.5, 1]


def test_values_that_do_not_fit_are_refused_in_one_line(make_search: MakeSearch) -> None:
    with pytest.raises(ValueError, match=r"^optimize\.warmup_epochs: 9 must be less than epochs \(9\): lower it"):
        trial_levels(make_search(), 0, {"optimize.warmup_epochs": 9})


def test_the_longest_trial(make_search: MakeSearch) -> None:
    assert most_epochs(make_search()) == 9
    assert most_epochs(make_search(search={"optimize.epochs": {"integer": [2, 30], "step": 5}})) == 27
    assert most_epochs(make_search(search={"optimize.epochs": [3, 12, 5]})) == 12
