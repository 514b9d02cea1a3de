"""An epoch in files: the same flat object as ever, and files of other versions are read."""

import json
from math import isnan, nan

import pytest
from pydantic import ValidationError

from scenerec.epoch_metrics import EpochMetrics
from scenerec.search.trial import Trial

LINE = (
    '{"epoch": 1, "global_step": 6, "train_loss": 1.25, "val_loss": 2.0, "val_top1": 0.5, "val_top5": 1.0, '
    '"images_per_s": 80.5, "lr": 0.1, "workers": 2, "framework": "torch", "time_s": 1764.125}'
)


def test_a_line_of_metrics_is_written_as_it_was_read() -> None:
    metrics = EpochMetrics.model_validate(json.loads(LINE))
    assert (metrics.epoch, metrics.validation) == (1, {"val_loss": 2.0, "val_top1": 0.5, "val_top5": 1.0})
    assert json.dumps(metrics.as_dict()) == LINE
    assert list(metrics.scalars()) == ["train_loss", "val_loss", "val_top1", "val_top5", "images_per_s", "lr"]


def test_a_line_tells_of_the_input() -> None:
    line = LINE.replace('"workers"', '"data_wait": 0.125, "fetched_bytes_per_s": 5000000.0, "workers"')
    metrics = EpochMetrics.model_validate(json.loads(line))
    assert json.dumps(metrics.as_dict()) == line
    assert metrics.scalars()["data_wait"] == 0.125
    assert metrics.scalars()["fetched_bytes_per_s"] == 5e6


def test_files_of_other_versions_are_read() -> None:
    metrics = EpochMetrics.model_validate({"epoch": 3, "val_top1": 0.5, "of_a_later_version": [1]})
    assert (metrics.validation, metrics.workers, isnan(metrics.lr)) == ({"val_top1": 0.5}, 1, True)
    with pytest.raises(ValidationError):
        EpochMetrics.model_validate({"val_top1": 0.5})


def test_a_loss_that_is_no_number_survives_a_trials_file() -> None:
    epoch = EpochMetrics(epoch=1, train_loss=nan, validation={"val_loss": nan, "val_top1": 0.25}, lr=0.1)
    trial = Trial(number=0, point={}, state="running", history=(epoch,))
    written = trial.model_dump_json()
    assert json.loads(written)["history"][0]["val_loss"] is None
    (read,) = Trial.model_validate_json(written).history
    assert isnan(read.train_loss) and isnan(read.validation["val_loss"]) and read.validation["val_top1"] == 0.25
