"""Metrics by step: whatever kills a run, its log has each line once, and TensorBoard reads the same."""

from math import nan
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenerec.epoch_metrics import EpochMetrics
from scenerec.errors import CheckpointError
from scenerec.step_metrics import StepMetrics
from scenerec.training.metrics_log import MetricsLog, line_interval
from scenerec.training.run_folder import RunFolder

STEPS_PER_EPOCH = 4
EVENTS = "tensorboard/events.out.tfevents.scenerec"


def line(global_step: int) -> StepMetrics:
    epoch, step = divmod(global_step - 1, STEPS_PER_EPOCH)
    return StepMetrics(
        epoch=epoch + 1,
        step=step + 1,
        steps=STEPS_PER_EPOCH,
        global_step=global_step,
        loss=1 / global_step,
        lr=0.1,
        images_per_s=30.0,
        data_wait=0.25,
        time_s=1e9 + global_step,
    )


def epoch_of(number: int) -> EpochMetrics:
    values = {"val_loss": nan, "val_top1": number / 10}
    end = number * STEPS_PER_EPOCH
    return EpochMetrics(epoch=number, global_step=end, train_loss=0.5, validation=values, time_s=1e9 + end)


def attempt(folder: RunFolder, begin: int, end: int, saved: int) -> None:
    """Goes from the checkpoint of step `begin` to step `end`, with a checkpoint at `saved`, and is killed then."""
    history = [epoch_of(number) for number in range(1, begin // STEPS_PER_EPOCH + 1)]
    log = MetricsLog(folder.read_steps(), history, begin)
    for global_step in range(begin + 1, end + 1):
        log.add(line(global_step))
        if global_step % STEPS_PER_EPOCH == 0:
            log.add(epoch_of(global_step // STEPS_PER_EPOCH))
        if global_step == saved:
            log.writer(folder)()


@pytest.mark.slow
@settings(max_examples=40)
@given(kills=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.booleans()), max_size=4))
def test_a_log_that_was_interrupted_is_that_of_a_run_that_was_not(
    tmp_path_factory: pytest.TempPathFactory, kills: list[tuple[int, int, bool]]
) -> None:
    """Kills between the log's file and its checkpoint are among them: the next attempt begins before the file's end."""
    interrupted, whole = (RunFolder(str(tmp_path_factory.mktemp("run"))) for _ in range(2))
    done = 0
    for to_checkpoint, beyond, has_checkpoint in kills:
        saved = min(done + to_checkpoint, 12)
        attempt(interrupted, done, min(saved + beyond, 12), saved)
        done = saved if has_checkpoint else done
    attempt(interrupted, done, 12, 12)
    attempt(whole, 0, 12, 12)
    for file in ("steps.jsonl", EVENTS):
        assert interrupted.storage.get(file) == whole.storage.get(file)


def test_tensorboard_reads_the_events(tmp_path: Path) -> None:
    """By TensorFlow's own reader, which compares the checksums."""
    from tensorflow.compat.v1.train import summary_iterator

    attempt(RunFolder(str(tmp_path)), 0, 4, 4)
    events = list(summary_iterator(str(tmp_path / EVENTS)))
    assert events[0].file_version == "brain.Event:2"
    assert [event.step for event in events[1:]] == [1, 2, 3, 4, 4]
    tags = [{value.tag: value.simple_value for value in event.summary.value} for event in events[1:]]
    assert tags[1] == {
        "train/loss": 0.5,
        "optim/lr": pytest.approx(0.1),
        "perf/images_per_s": 30,
        "perf/data_wait": 0.25,
    }
    assert set(tags[4]) == {"train/epoch_loss", "val/loss", "val/top1", "perf/epoch_images_per_s"}
    assert tags[4]["val/top1"] == pytest.approx(0.1)


def test_lines_stand_for_at_most_fifty_steps_unless_another_number_is_asked_for() -> None:
    assert [line_interval("auto", steps) for steps in (1, 39, 40, 1000, 9999)] == [1, 1, 2, 50, 50]
    assert line_interval(7, 1000) == 7


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path / "run"))
    assert folder.read_steps() == []
    folder.storage.put("steps.jsonl", b'{"epoch": 0}\n')
    with pytest.raises(CheckpointError, match=r"run/steps\.jsonl: is damaged: "):
        folder.read_steps()
