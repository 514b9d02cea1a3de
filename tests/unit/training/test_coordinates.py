"""Training with coordinates, in both frameworks: the same steps, the same resume, and what it is good for.

The backbone is frozen, so that nothing but rounding can differ; tests/integration/test_loop.py has the rest.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenerec.checkpoint import LearnerState, list_checkpoints, load_checkpoint
from scenerec.config.train import TrainConfig
from scenerec.data.stream import Cursor
from scenerec.errors import CheckpointError, DataError
from scenerec.inference.predictors.open_predictor import open_predictor
from scenerec.training.loop import train
from scenerec.training.preflight import check_job
from scenerec.training.run_folder import RunFolder
from scenerec.world import World
from tests.conftest import small_config
from tests.local_run import LEARNERS, open_job, train_here
from tests.matrix import keep

FRAMEWORKS = list(LEARNERS)
GEO = {"width": 16, "blocks": 2, "time": True}


@pytest.fixture
def make_located(located_scenes: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    """`small_config` over a set with coordinates."""
    return partial(small_config, located_scenes, tmp_path / "runs")


@pytest.mark.slow
@pytest.mark.parametrize("fusion", keep({"concat"}, ["logits", "concat", "modulate"]))
def test_both_frameworks_make_the_same_steps(make_located: Callable[..., TrainConfig], fusion: str) -> None:
    """Of all that reads coordinates and the head; accumulated, clipped, averaged."""
    optimize = {"lr": 0.05, "ema_decay": 0.5, "clip_grad_norm": 1.0, "accumulate_steps": 2}
    model = {"freeze": "backbone", "geo": {**GEO, "fusion": fusion, "encoding": "multiscale"}}
    learners = {}
    for name in FRAMEWORKS:
        learners[name] = LEARNERS[name](open_job(make_located(framework=name, model=model, optimize=optimize)), World())
    batches = {name: learner.training_batches(Cursor()) for name, learner in learners.items()}
    first = learners["torch"].state()
    losses: dict[str, list[float]] = {name: [] for name in FRAMEWORKS}
    for _ in range(4):
        for name, learner in learners.items():
            learner.train_step(next(batches[name]), optimize["lr"])
            losses[name].append(learner.take_loss())
    np.testing.assert_allclose(losses["torch"], losses["tensorflow"], rtol=1e-5)
    ours, theirs = (learner.state() for learner in learners.values())
    trained = {name for name in first.model if name.startswith(("fc.", "geo."))}
    assert set(ours.ema) == trained
    for name in ours.model:
        moved = float(np.abs(ours.model[name] - first.model[name]).max())
        assert (moved > 0) == (name in trained), name
        np.testing.assert_allclose(ours.model[name], theirs.model[name], atol=1e-5, err_msg=name)
    for learner in learners.values():
        learner.load_state(theirs)
    counts = [learner.evaluate(learner.validation_batches()).as_array() for learner in learners.values()]
    np.testing.assert_allclose(*counts, rtol=1e-5)


class KilledError(Exception):
    """Instead of a process's end."""


def fail_after(batches: Iterator[Any], count: int) -> Iterator[Any]:
    yield from islice(batches, count)
    raise KilledError


def last_state(config: TrainConfig) -> LearnerState:
    folder = RunFolder(config.run_url).checkpoints
    return load_checkpoint(folder, list_checkpoints(folder)[-1]).learner


@pytest.mark.slow
@pytest.mark.parametrize("framework", keep({"torch"}, FRAMEWORKS))
def test_a_killed_run_resumes_bit_equal(make_located: Callable[..., TrainConfig], framework: str) -> None:
    """With dropout in what reads coordinates, and hidden coordinates; as another network it does not go on."""
    model = {"arch": "squeezenet1_1", "freeze": "backbone", "geo": {**GEO, "dropout": 0.2}}
    make = partial(
        make_located,
        framework=framework,
        data={"augment": {"drop_coordinates": 0.3}},
        model=model,
        optimize={"epochs": 1, "lr": 0.05, "ema_decay": 0.5},
        checkpoint={"every_steps": 2},
    )
    whole, killed = make(name="whole"), make(name="killed")
    train_here(whole)
    job = open_job(killed)
    learner = LEARNERS[framework](job, World())
    batches = learner.training_batches
    learner.training_batches = lambda start: fail_after(batches(start), 5)  # type: ignore[method-assign]
    with pytest.raises(KilledError):
        train(job, World(), learner, lambda event: None, lambda metrics: None)
    for geo in (None, {**GEO, "width": 8}):
        with pytest.raises(CheckpointError, match=r"another model\.geo"):
            check_job(make(name="killed", model={**model, "geo": geo}))
    train_here(killed)
    ours, theirs = last_state(whole), last_state(killed)
    for kind in ("model", "ema"):
        for name, array in getattr(ours, kind).items():
            np.testing.assert_array_equal(array, getattr(theirs, kind)[name], err_msg=name)
    assert np.abs(ours.model["geo.output.weight"]).max() > 0
    check_predictions(killed.run_url)


def check_predictions(run_url: str) -> None:
    """A run's network predicts with coordinates in either framework."""
    images, places = np.zeros((2, 32, 32, 3), np.uint8), np.array([[52, 15, 0.5], [np.nan] * 3], np.float32)
    torch, tensorflow = (open_predictor(run_url, framework) for framework in ("torch", "tensorflow"))
    assert torch.takes_coordinates and tensorflow.takes_coordinates
    with_places, alone = torch.logits(images, places), torch.logits(images)
    np.testing.assert_allclose(tensorflow.logits(images, places), with_places, atol=1e-5)
    assert np.abs(with_places - alone)[0].max() > 1e-3
    np.testing.assert_array_equal(with_places[1], alone[1])


def test_the_plan_says_how_many_have_coordinates(make_located: Callable[..., TrainConfig]) -> None:
    words = "known of 100 of 100 training images, 36 of 36 for validation; wrapped, fused by modulate"
    found = check_job(make_located(model={"geo": {"fusion": "modulate"}}))
    assert dict(found.rows())["coordinates"] == words == found.as_dict()["coordinates"]
    assert "coordinates" not in dict(check_job(make_located()).rows())


def test_sets_without_coordinates_are_refused(make_config: Callable[..., TrainConfig], located_scenes: Path) -> None:
    with pytest.raises(DataError, match=r"data\.train: no image of .* has coordinates.*pack --coordinates FILE.*leave"):
        check_job(make_config(model={"geo": {}}))
    with pytest.raises(DataError, match=r"data\.val: no image of"):
        check_job(make_config(model={"geo": {}}, data={"train": f"{located_scenes}/train"}))
