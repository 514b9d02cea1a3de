import threading
from pathlib import Path

import numpy as np
import pytest

from scenerec.checkpoint import (
    Checkpoint,
    LearnerState,
    RunState,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from scenerec.config.tune import TuneConfig
from scenerec.epoch_metrics import EpochMetrics
from scenerec.errors import CheckpointError
from scenerec.search.levels import judged_epochs, trial_levels
from scenerec.search.relay import Bookmark, Relay, allow, begin_part, take_over, wait_until_allowed
from scenerec.training.run_folder import RunFolder
from tests.patience import PATIENCE_S
from tests.tiny_search import search_document


def epochs(count: int) -> list[EpochMetrics]:
    scalars = ("train_loss", "val_loss", "val_top1", "val_top5", "images_per_s", "lr", "time_s")
    return [
        EpochMetrics.model_validate({"epoch": n, "global_step": 10 * n, **dict.fromkeys(scalars, n / 10)})
        for n in range(1, count + 1)
    ]


def save(folder: RunFolder, epoch: int, step: int = 0) -> str:
    state = RunState(epoch, step, 10 * epoch + step, {}, {}, epochs(epoch), {}, {}, "torch")
    weights = {"w": np.full(3, epoch, np.float32)}
    return save_checkpoint(folder.checkpoints, Checkpoint(state, LearnerState(weights, {})))


@pytest.fixture
def tune(tmp_path: Path) -> TuneConfig:
    return TuneConfig.model_validate(search_document(str(tmp_path)))


def test_each_epoch_is_told_once(tune: TuneConfig) -> None:
    (level,) = trial_levels(tune, 0, {})
    relay, folder = Relay(tune, level), RunFolder(level.config.run_url)
    assert not list(relay.news())
    folder.write_metrics(epochs(2))
    assert [news.rung_time for news in relay.news()] == [1, 2]
    folder.write_metrics(epochs(3))
    assert [news.metrics.epoch for news in relay.news()] == [3]
    assert not list(relay.news())


def test_a_level_is_told_at_its_end(tmp_path: Path) -> None:
    budget = {"by": "resolution", "levels": [0.5, 1]}
    tune = TuneConfig.model_validate(search_document(str(tmp_path), budget=budget))
    for level, rung_time in zip(trial_levels(tune, 0, {}), (1, 3), strict=True):
        relay, folder = Relay(tune, level), RunFolder(level.config.run_url)
        folder.write_metrics(epochs(8))
        assert not list(relay.news())
        folder.write_metrics(epochs(9))
        assert [news.rung_time for news in relay.news()] == [rung_time]


def test_another_trials_run_goes_on_from_the_bookmarked_epoch(tune: TuneConfig) -> None:
    (donor,), (taker,) = trial_levels(tune, 0, {}), trial_levels(tune, 1, {}, part=1)
    source, target = RunFolder(donor.config.run_url), RunFolder(taker.config.run_url)
    save(source, 2)
    wanted = save(source, 3)
    save(source, 3, step=5)
    assert take_over(Bookmark(source.url, "0000", 0, 3), taker) == 3
    assert list_checkpoints(target.checkpoints) == [wanted]
    assert load_checkpoint(target.checkpoints, wanted).learner.model["w"][0] == 3


def test_each_copy_is_a_run_of_its_own(tune: TuneConfig) -> None:
    (donor,) = trial_levels(tune, 0, {})
    save(RunFolder(donor.config.run_url), 3)
    source = Bookmark(donor.config.run_url, "0000", 0, 3)
    copies = [begin_part(tune, 1, {}, source) for _ in range(2)]
    assert [(copy.trial, copy.part, copy.epoch) for copy in copies] == [("0001", 1, 3), ("0001", 2, 3)]
    for copy in copies:
        assert copy.run == trial_levels(tune, 1, {}, copy.part)[0].config.run_url
        assert RunFolder(copy.run).latest_checkpoint() is not None


def test_a_checkpoint_that_went_is_replaced_by_the_newest(tune: TuneConfig) -> None:
    (donor,), (taker,) = trial_levels(tune, 0, {}), trial_levels(tune, 1, {}, part=1)
    save(RunFolder(donor.config.run_url), 5)
    assert take_over(Bookmark(donor.config.run_url, "0000", 0, 3), taker) == 5


def test_a_run_without_checkpoints_cannot_be_taken_over(tune: TuneConfig, tmp_path: Path) -> None:
    (taker,) = trial_levels(tune, 1, {}, part=1)
    with pytest.raises(CheckpointError, match="has no checkpoint"):
        take_over(Bookmark(str(tmp_path / "nothing"), "0000", 0, 3), taker)


def test_a_run_waits_for_the_word_of_its_epoch_but_not_for_ever(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path / "run"))
    allow(folder, 1)
    assert wait_until_allowed(folder, 1)
    assert not wait_until_allowed(folder, 2, patience_s=0)
    later = threading.Timer(0.3, allow, (folder, 2))
    later.start()
    assert wait_until_allowed(folder, 2, patience_s=PATIENCE_S)
    later.join()


@pytest.mark.parametrize(
    ("scheduler", "judged"),
    [
        ("none", ()),
        ("asha", (1, 3)),
        ({"kind": "asha", "grace_epochs": 2, "reduction_factor": 2}, (2, 4, 8)),
        ({"kind": "median", "grace_epochs": 6}, (6, 7, 8)),
    ],
)
def test_training_waits_only_where_it_is_judged(scheduler: object, judged: tuple[int, ...], tmp_path: Path) -> None:
    tune = TuneConfig.model_validate(search_document(str(tmp_path), scheduler=scheduler))
    assert judged_epochs(tune, 9) == judged
