"""The task multilabel: its arithmetic in both frameworks, what ranks come to together, runs, and what it refuses."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from scenerec.checkpoint import best_checkpoint
from scenerec.config.optimize import OptimizeConfig
from scenerec.config.train import TrainConfig, TrainingConfig
from scenerec.config.tune import TuneConfig
from scenerec.data.labels import OWN_MULTI_RULE
from scenerec.data.manifest import Manifest, Shard
from scenerec.data.packed_set import PackedSet, open_set
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.packing.pack_plan import PackOptions
from scenerec.data.synthetic_multilabel import draw_collages
from scenerec.epoch_metrics import EpochMetrics
from scenerec.errors import CheckpointError, DataError, PlanError
from scenerec.storage import IMPATIENT, LocalStorage
from scenerec.training import tf_multilabel, torch_multilabel
from scenerec.training.choice.packed_data import PackedData
from scenerec.training.class_weights import loss_weights
from scenerec.training.multilabel_counts import MultilabelCounts
from scenerec.training.preflight import check_job, plan_job
from scenerec.training.run_folder import REPORT_FILE, RunFolder, check_identity, run_identity
from scenerec.training.run_report import write_report
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
    ours = torch_multilabel.training_losses(torch.from_numpy(logits), torch.from_numpy(labels), optimize, None)
    theirs = tf_multilabel.training_losses(tf.constant(logits), tf.constant(labels), optimize, None)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-6)
    counts = MultilabelCounts.of_batch(SAMPLES, (logits, labels))
    assert counts.metrics()["val_loss"] == pytest.approx(float(ours.mean()), abs=1e-6)


@given(st.data(), st.booleans())
@settings(max_examples=30)
def test_weighted_losses_are_torchs_in_both_frameworks(drawn: st.DataObject, mixed: bool) -> None:
    """`pos_weight` of BCEWithLogitsLoss, also of labels that are there in part."""

    def row(values: st.SearchStrategy[float]) -> np.ndarray:
        return np.array(drawn.draw(st.lists(values, min_size=CLASSES, max_size=CLASSES)), np.float64)

    logits, weights = row(st.floats(-30, 30))[None], row(st.floats(0.01, 100))
    labels = row(st.floats(0, 1) if mixed else st.sampled_from([0.0, 1.0]))[None]
    torchs, tensors = torch.from_numpy, (torch.from_numpy(logits), torch.from_numpy(labels))
    optimize = OptimizeConfig(epochs=1, global_batch_size=1, lr=1)
    expected = float(torch.nn.BCEWithLogitsLoss(pos_weight=torchs(weights))(*tensors))
    ours = torch_multilabel.training_losses(*tensors, optimize, torchs(weights))
    theirs = tf_multilabel.training_losses(tf.constant(logits), tf.constant(labels), optimize, tf.constant(weights))
    assert [float(ours[0]), float(theirs[0])] == pytest.approx([expected] * 2, rel=1e-9)


def test_balanced_weights_are_the_images_without_a_label_over_those_with_it(collages: Path, tmp_path: Path) -> None:
    asked = config(collages, tmp_path, optimize={"class_weights": "balanced"})
    plan, train = check_job(asked).plan, open_set(asked.data.train_names).manifest
    absent = train.samples - train.class_counts
    assert list(plan.class_weights.values()) == pytest.approx((absent / train.class_counts).tolist())
    assert plan.class_weights == plan_job(asked).class_weights
    assert dict(plan.rows())["class weights"].endswith("in the training loss where a label is there, 1 where it is not")
    rare = plan_job(config(collages, tmp_path, optimize={"class_weights": {train.classes[1]: 7}}))
    assert list(rare.class_weights.values()) == [1, 7, 1, 1]


@pytest.mark.parametrize("counts", [{0: 0, 1: 2}, {0: 8, 1: 2}])
def test_a_label_that_tells_nothing_apart_weighs_nothing_more(collages: Path, tmp_path: Path, counts: Any) -> None:
    """No image has it, or all have: neither 0 nor infinity."""
    shard = Shard(key="0.tar", size_bytes=1, sha256="0" * 64, samples=8, class_counts=counts)
    manifest = Manifest(classes=("a", "b"), shards=(shard,), labels=OWN_MULTI_RULE)
    asked = config(collages, tmp_path, optimize={"class_weights": "balanced"})
    assert loss_weights(asked, [(PackedSet(LocalStorage(tmp_path), manifest), 1.0)]) == {"a": 1.0, "b": 3.0}


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


@pytest.mark.parametrize("recipe", ["a1", "finetune"])
def test_a_recipe_leaves_that_out(collages: Path, tmp_path: Path, recipe: str) -> None:
    blocks: dict[str, Any] = {"recipe": recipe, "model": {"weights": "IMAGENET1K_V1"}}
    optimize = config(collages, tmp_path, **blocks).optimize
    assert (optimize.label_smoothing, optimize.bce_threshold) == (0, None)
    assert optimize.mix and optimize.weight_decay
    with pytest.raises(ValidationError, match=r"optimize.label_smoothing: .* leave it out"):
        config(collages, tmp_path, **blocks, optimize={"label_smoothing": 0.1})


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


def check_labels(ours: RunFolder, theirs: RunFolder, best: EpochMetrics) -> None:
    """Both tell the same of each label, and the report shows them, the hardest first."""
    found = [folder.read_labels() for folder in (ours, theirs)]
    assert found[0] and found[1] and found[0].epoch == best.epoch
    rows = [[astuple(label) for label in each.labels] for each in found if each]
    assert [row[0] for row in rows[0]] == [row[0] for row in rows[1]]
    np.testing.assert_allclose(*([row[1:] for row in each] for each in rows), atol=1e-6)
    precisions = [each.average_precision or 0 for each in found[0].labels]
    assert np.mean(precisions) == pytest.approx(best.validation["val_map"])
    assert np.mean([each.f1 for each in found[0].labels]) == pytest.approx(best.validation["val_f1_macro"])
    write_report(ours.url, IMPATIENT)
    page = ours.storage.get(REPORT_FILE).decode()
    rows = re.findall(r"<td>([^<]+)</td>\n  <td class=\"number\">(\d+)</td>\n  <td class=\"number\">([\d.]+)%", page)
    expected = sorted(found[0].labels, key=lambda each: each.average_precision or 0)
    assert [row[0] for row in rows] == [each.name for each in expected]
    assert [int(row[1]) for row in rows] == [each.samples for each in expected]
    assert [float(row[2]) for row in rows] == pytest.approx([100 * p for p in sorted(precisions)], abs=0.06)


@pytest.mark.slow
def test_both_frameworks_make_the_same_run_and_go_on_with_each_others(collages: Path, tmp_path: Path) -> None:
    """In float64 from the same weights: losses, figures and history; then torch's run goes on in TensorFlow.

    Of mixed images with rare labels weighed; each run says of its best epoch how good each label is.
    """
    settings = {
        "model": {"freeze": "backbone"},
        "optimize": {
            **{"precision": "fp64", "lr": 0.5, "epochs": 2, "global_batch_size": 16},
            **{"class_weights": "balanced", "mix": {"mixup": 0.5, "cutmix": 1.0}},
        },
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
    check_labels(*(RunFolder(each.run_url) for each in runs.values()), best)
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
