"""Tasks as values: what counts add up to, which epoch is best, and a task of its own through both learners."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.checkpoint import best_checkpoint, checkpoint_name
from scenerec.data.packed_set import open_set
from scenerec.epoch_metrics import EpochMetrics
from scenerec.job_log import EpochSummary, Event, format_line, parse_line
from scenerec.training import tf_learner, torch_learner
from scenerec.training.learner import Learner, TrainingJob
from scenerec.training.loop import train
from scenerec.training.multilabel_counts import MultilabelCounts
from scenerec.training.preflight import plan_job
from scenerec.training.run_folder import RunFolder
from scenerec.training.task import CLASSIFICATION, TASKS, ClassificationCounts, scores
from scenerec.training.tf_task import tf_task
from scenerec.training.torch_task import torch_task
from scenerec.world import World
from tests.toy_task import TOY

whole = st.integers(0, 2**40)
counts = st.builds(ClassificationCounts, whole, st.floats(0, 1e6), whole, whole)


@given(st.lists(counts, min_size=1, max_size=5))
def test_counts_add_up_whatever_the_ranks(parts: list[ClassificationCounts]) -> None:
    total = sum(parts, ClassificationCounts())
    assert total.samples == sum(part.samples for part in parts)
    over_ranks = total.from_array(np.sum([part.as_array() for part in parts], axis=0))
    assert (over_ranks.top1, over_ranks.top5) == (total.top1, total.top5)
    assert over_ranks.loss_sum == pytest.approx(total.loss_sum)


def test_metrics_are_means_over_the_samples() -> None:
    assert ClassificationCounts(8, 12.0, 2, 7).metrics() == {"val_loss": 1.5, "val_top1": 0.25, "val_top5": 0.875}


COUNTED = {
    "classification": ClassificationCounts(samples=1),
    "multilabel": MultilabelCounts.of_batch(1, (np.zeros((1, 2)), np.eye(1, 2))),
}


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_a_task_is_whole(task: Any) -> None:
    keys = [metric.key for metric in task.metrics]
    assert list(COUNTED[task.name].metrics()) == keys
    assert keys[0] == "val_loss" and all(key.startswith("val_") for key in keys)
    assert task.best in task.metrics
    for arithmetic in (torch_task(task), tf_task(task)):
        assert callable(arithmetic.training_losses) and callable(arithmetic.count)


def epochs(**columns: list[float]) -> list[EpochMetrics]:
    rows = zip(*columns.values(), strict=True)
    return [
        EpochMetrics(epoch=number, validation=dict(zip(columns, row, strict=True)))
        for number, row in enumerate(rows, 1)
    ]


@pytest.mark.parametrize(
    ("task", "history", "best"),
    [
        (CLASSIFICATION, epochs(val_top1=[0.1, 0.5, 0.3, 0.5], val_loss=[1, 9, 2, 3]), 2),
        (TOY, epochs(val_error=[0.4, 0.2, 0.2, 0.3]), 2),
    ],
)
def test_the_best_epoch_is_the_first_of_equals(task: Any, history: list[EpochMetrics], best: int) -> None:
    assert task.best_epoch(history) is history[best - 1]
    assert task.best_epoch([]) is None


def test_a_summary_shows_all_but_the_loss() -> None:
    shown = scores({"epoch": 3, "val_loss": 1.5, "val_top1": 0.25, "val_top5": 1.0, "lr": 0.1})
    assert [(metric.name, metric.show(value)) for metric, value in shown] == [("top-1", "25.00%"), ("top-5", "100.00%")]


LEARNERS: dict[str, Any] = {"torch": torch_learner.TorchLearner, "tensorflow": tf_learner.TfLearner}


def toy_job(make_config: Any, framework: str) -> TrainingJob:
    config = make_config(
        framework=framework,
        model={"arch": "squeezenet1_1"},
        optimize={"lr": 1e-4, "momentum": 0.0, "global_batch_size": 25},
        name=f"toy-{framework}",
    )
    return TrainingJob(config, plan_job(config), open_set(config.data.train), open_set(config.data.val), TOY)


@pytest.mark.slow
def test_a_task_of_its_own_is_trained_by_both_learners(make_config: Any) -> None:
    """From the same weights to the same first counts; each run's files, log and best epoch go by the task."""
    jobs = {framework: toy_job(make_config, framework) for framework in LEARNERS}
    learners: dict[str, Learner[Any]] = {
        framework: LEARNERS[framework](job, World()) for framework, job in jobs.items()
    }
    learners["tensorflow"].load_state(learners["torch"].state())
    ours, theirs = (learner.evaluate(learner.validation_batches()) for learner in learners.values())
    assert ours.samples == theirs.samples == 36
    np.testing.assert_allclose(ours.as_array(), theirs.as_array(), rtol=1e-4)
    for framework, job in jobs.items():
        events: list[Event] = []
        result = train(job, World(), learners[framework], events.append, lambda metrics: None)
        folder = RunFolder(job.config.run_url)
        history = folder.read_history()
        assert [list(epoch.validation) for epoch in history] == [["val_loss", "val_error"]] * 2
        best = min(history, key=lambda epoch: epoch.validation["val_error"])
        assert result["best"] == best.as_dict()
        assert best_checkpoint(folder.checkpoints) == checkpoint_name(best.global_step)
        assert json.loads(folder.checkpoints.get("best.json"))["val_error"] == best.validation["val_error"]
        told = [parse_line(format_line(event)) for event in events if isinstance(event, EpochSummary)]
        assert [list(each.validation) for each in told if isinstance(each, EpochSummary)] == [
            ["val_loss", "val_error"]
        ] * 2
