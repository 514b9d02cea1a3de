"""The task multilabel: its arithmetic in both frameworks, what ranks come to together, runs, and what it refuses."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from pydantic import ValidationError

from scenerec.checkpoint import best_checkpoint
from scenerec.config.train import TrainConfig, TrainingConfig
from scenerec.config.tune import TuneConfig
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.packing.pack_plan import PackOptions
from scenerec.data.synthetic_multilabel import draw_collages
from scenerec.errors import CheckpointError, DataError, PlanError
from scenerec.training import tf_multilabel, torch_multilabel
from scenerec.training.choice.packed_data import PackedData
from scenerec.training.multilabel_counts import MultilabelCounts
from scenerec.training.preflight import check_job, plan_job
from scenerec.training.run_folder import RunFolder, check_identity, run_identity
from scenerec.training.task import TASKS
from scenerec.world import World
from tests.conftest import small_config
from tests.local_run import learned_by_step, make_learner, open_job, train_here

SAMPLES, CLASSES = 23, 4


@pytest.fixture(scope="module")
def collages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("collages")
    draw_collages(folder / "raw", classes=CLASSES, train=64, val=SAMPLES, size=48, seed=3)
    options = PackOptions(shard_mb=0.03)
    pack(PackRequest(source=folder / "raw", destination=str(folder / "packed"), options=options))
    return folder / "packed"


def config(collages: Path, tmp_path: Path, **blocks: Any) -> TrainConfig:
    return small_config(collages, tmp_path / "runs", **{"task": "multilabel", **blocks})


def drawn() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=4, size=(SAMPLES, CLASSES)).astype(np.float32)
    return logits, (rng.random((SAMPLES, CLASSES)) < 0.3).astype(np.float32)


def test_losses_are_the_same_in_both_frameworks(collages: Path, tmp_path: Path) -> None:
    logits, labels = drawn()
    optimize = config(collages, tmp_path).optimize
    ours = torch_multilabel.training_losses(torch.from_numpy(logits), torch.from_numpy(labels), optimize)
    theirs = tf_multilabel.training_losses(tf.constant(logits), tf.constant(labels), optimize)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-6)
    counts = MultilabelCounts.of_batch(SAMPLES, (logits, labels))
    assert counts.metrics()["val_loss"] == pytest.approx(float(ours.mean()), abs=1e-6)


@pytest.mark.parametrize("cuts", [(), (12,), (0, 12), (5, 5, 20), (SAMPLES, SAMPLES)])
def test_ranks_come_to_the_same_figures_to_the_last_bit(cuts: tuple[int, ...]) -> None:
    """Ranks without a sample among them; each thread is a rank, and their sums wait for all."""
    logits, labels = drawn()
    shares = list(zip(np.split(logits, cuts), np.split(labels, cuts), strict=True))
    barrier, given = Barrier(len(shares)), [np.zeros(0)] * len(shares)

    def come_together(rank: int) -> MultilabelCounts:
        def sum_over_ranks(values: np.ndarray) -> np.ndarray:
            given[rank] = values
            barrier.wait()
            total = np.sum(given, axis=0)
            barrier.wait()
            return total

        counts = MultilabelCounts()
        for row, mark in zip(*shares[rank], strict=True):
            counts += counts.of_batch(1, (row[None], mark[None]))
        return counts.over_ranks(World(rank, len(shares)), sum_over_ranks)

    with ThreadPoolExecutor(len(shares)) as ranks:
        found = list(ranks.map(come_together, range(len(shares))))
    alone = MultilabelCounts.of_batch(SAMPLES, (logits, labels))
    assert [each.samples for each in found] == [SAMPLES] * len(shares)
    assert [each.metrics() for each in found] == [alone.metrics()] * len(shares)


@pytest.mark.parametrize(
    ("blocks", "problem"),
    [
        ({"optimize": {"label_smoothing": 0.1}}, "optimize.label_smoothing: spreads"),
        ({"optimize": {"class_weights": "balanced"}}, "optimize.class_weights: weighs"),
        ({"optimize": {"distill": {"teacher": "s3://runs/big"}}}, "optimize.distill: compares"),
        ({"data": {"balance": 0.5}}, "data.balance: chooses"),
    ],
)
def test_what_needs_one_class_an_image_is_refused(
    collages: Path, tmp_path: Path, blocks: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        config(collages, tmp_path, **blocks)
    small_config(collages, tmp_path, **blocks)


def test_a_set_of_the_other_kind_is_refused(collages: Path, scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="has several labels an image: set task: multilabel"):
        check_job(config(collages, tmp_path, task="classification"))
    with pytest.raises(PlanError, match="has one class an image: leave task: multilabel out"):
        check_job(config(scenes, tmp_path))
    with pytest.raises(DataError, match="for which nothing is chosen"):
        PackedData(str(collages))


def test_a_run_keeps_its_task(collages: Path, tmp_path: Path) -> None:
    ours, other = (run_identity(config(collages, tmp_path, task=task), 4, 4, "") for task in TASKS)
    with pytest.raises(CheckpointError, match="another task"):
        check_identity("run", ours, other)


def test_a_search_goes_by_what_the_task_measures(collages: Path, tmp_path: Path) -> None:
    base = config(collages, tmp_path).model_dump(mode="json", exclude={"kind", "name", "output"})
    base = {key: value for key, value in base.items() if key in TrainingConfig.model_fields}
    search = {"optimize.lr": {"log_uniform": [0.001, 0.1]}}
    document = {"kind": "tune", "name": "t", "output": str(tmp_path), "trials": 2, "base": base, "search": search}
    with pytest.raises(ValidationError, match="task multilabel does not measure val_top1: name some of val_map"):
        TuneConfig.model_validate(document)
    assert TuneConfig.model_validate({**document, "objective": ["val_map", "parameters"]}).objective[0] == "val_map"


@pytest.mark.slow
def test_both_frameworks_make_the_same_run_and_go_on_with_each_others(collages: Path, tmp_path: Path) -> None:
    """In float64 from the same weights: losses, figures and history; then torch's run goes on in TensorFlow."""
    settings = {
        "model": {"freeze": "backbone"},
        "optimize": {"precision": "fp64", "lr": 0.5, "epochs": 2, "global_batch_size": 16},
    }
    runs = {
        framework: config(collages, tmp_path, framework=framework, name=framework, **settings)
        for framework in ("torch", "tensorflow")
    }
    results = {framework: train_here(each) for framework, each in runs.items()}
    steps = [[(line[:3], line[4]) for line in learned_by_step(each.run_url)] for each in runs.values()]
    assert steps[0] == steps[1]
    losses = [[line[3] for line in learned_by_step(each.run_url)] for each in runs.values()]
    np.testing.assert_allclose(*losses, atol=1e-6)
    histories = [RunFolder(each.run_url).read_history() for each in runs.values()]
    for ours, theirs in zip(*histories, strict=True):
        assert list(ours.validation) == ["val_loss", "val_map", "val_f1_micro", "val_f1_macro"]
        assert list(ours.validation.values()) == pytest.approx(list(theirs.validation.values()), abs=1e-6)
    best = max(histories[0], key=lambda epoch: epoch.validation["val_map"])
    assert results["torch"]["best"] == best.as_dict()
    assert best_checkpoint(RunFolder(runs["torch"].run_url).checkpoints) in results["torch"]["best_checkpoint"]
    longer = {**settings, "optimize": {**settings["optimize"], "epochs": 3}}
    went_on = config(collages, tmp_path, framework="tensorflow", name="torch", **longer)
    assert train_here(went_on)["last"]["epoch"] == 3


@pytest.mark.slow
def test_a_first_evaluation_is_the_same_in_both_frameworks(collages: Path, tmp_path: Path) -> None:
    jobs = [open_job(config(collages, tmp_path, framework=each)) for each in ("torch", "tensorflow")]
    ours, theirs = map(make_learner, jobs)
    theirs.load_state(ours.state())
    counts = [learner.evaluate(learner.validation_batches()) for learner in (ours, theirs)]
    assert counts[0].samples == SAMPLES
    assert list(counts[0].metrics().values()) == pytest.approx(list(counts[1].metrics().values()), abs=1e-6)
    assert plan_job(jobs[0].config).classes == CLASSES  # type: ignore[arg-type]
