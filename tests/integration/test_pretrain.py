"""Pretraining in both frameworks, with several workers, and as a job."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenerec.config.compute import ComputeConfig
from scenerec.config.pretrain import PretrainConfig
from scenerec.data.stream import Cursor
from scenerec.training.run_folder import RunFolder
from tests.bare_workers import run_workers
from tests.local_run import make_learner, open_job, train_here
from tests.pretrain_run import MOCO, last_state, pretrain_config, same, train_until

RESNET = {"arch": "resnet18"}
METHODS: list[dict[str, Any]] = [
    MOCO,
    {"method": "simclr"},
    {"method": "mocov3", "projector_width": 32, "predictor_width": 32, "embedding_size": 16},
]


@pytest.fixture
def make(scenes: Path, tmp_path: Path) -> partial[PretrainConfig]:
    return partial(pretrain_config, scenes, tmp_path / "runs", model=RESNET)


def matrix(value: Any) -> Any:
    """A case that `make test` leaves out: docs/testing.md."""
    return pytest.param(value, marks=pytest.mark.matrix)


@pytest.mark.parametrize("method", [METHODS[0], *map(matrix, METHODS[1:])], ids=lambda method: method["method"])
def test_a_run_that_changes_its_framework_goes_on_with_the_same_losses(
    make: partial[PretrainConfig], method: dict[str, Any]
) -> None:
    """Both begin with the same weights; killed in its second epoch, torch's run goes on in TensorFlow as in torch."""
    configs = {
        name: make(framework=name, pretrain=method, checkpoint={"every_steps": 1}) for name in ("torch", "tensorflow")
    }
    learners = {name: make_learner(open_job(config)) for name, config in configs.items()}
    ours, theirs = (learner.state() for learner in learners.values())
    assert same(ours, theirs)
    assert {"projector.0.weight", "layer4.1.conv2.weight"} <= ours.model.keys() and "fc.weight" not in ours.model
    train_until(configs["torch"], step=3)
    saved = last_state(configs["torch"])
    found = []
    for learner in learners.values():
        learner.load_state(saved)
        again = learner.state()
        assert same(again, saved)
        batches = learner.training_batches(Cursor(1, 1))
        learner.train_step(next(batches), 0.01)
        batches.close()
        after = learner.state()
        found.append((learner.take_loss(), learner.evaluate(learner.validation_batches()).metrics(), after))
    (loss, metrics, ours), (other_loss, other_metrics, theirs) = found
    assert loss == pytest.approx(other_loss, rel=1e-5)
    assert metrics.keys() == other_metrics.keys()
    assert metrics["val_loss"] == pytest.approx(other_metrics["val_loss"], rel=1e-4)
    for key in ours.queue:
        np.testing.assert_allclose(ours.queue[key], theirs.queue[key], atol=1e-4)
    for key, weight in ours.ema.items():
        np.testing.assert_allclose(weight, theirs.ema[key], atol=1e-4, err_msg=key)


@pytest.mark.parametrize("framework", ["torch", matrix("tensorflow")])
@pytest.mark.parametrize("method", [METHODS[0], *map(matrix, METHODS[1:])], ids=lambda method: method["method"])
def test_two_workers_learn_what_one_does(make: partial[PretrainConfig], framework: str, method: dict[str, Any]) -> None:
    """Negatives, keys and BatchNorm are those of the global batch, also in blocks that are computed twice.

    In float64: rounding grows from step to step.
    """
    settings: dict[str, Any] = {"pretrain": method, "data": {"lanes": 12}, "framework": framework}
    optimize = {"epochs": 1, "precision": "fp64", "lr": 0.01}
    one, two = (
        make(name=f"on-{workers}", scale={"workers": workers}, optimize=optimize, **settings) for workers in (1, 2)
    )
    train_here(one)
    run_workers(two.model_copy(update={"compute": ComputeConfig(recompute_activations=True)}), 2)
    ours, theirs = last_state(one), last_state(two)
    for name in ("model", "ema", "queue"):
        expected, found = getattr(ours, name), getattr(theirs, name)
        assert expected.keys() == found.keys()
        for key in expected:
            np.testing.assert_allclose(found[key], expected[key], rtol=1e-4, atol=1e-5, err_msg=key)
    alone, shared = (RunFolder(config.run_url).read_history()[-1] for config in (one, two))
    assert (alone.workers, shared.workers) == (1, 2)
    assert alone.train_loss == pytest.approx(shared.train_loss, rel=1e-6)
    assert alone.validation == pytest.approx(shared.validation, rel=1e-4)
