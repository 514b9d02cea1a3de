"""The data side of published recipes, all of it at once: equal in both frameworks, and whatever kills a run."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest

from scenerec.checkpoint import LearnerState, list_checkpoints, load_checkpoint
from scenerec.config.train import TrainConfig
from scenerec.data import torch_input
from scenerec.data.stream import Cursor
from scenerec.training.loop import train
from scenerec.training.run_folder import RunFolder
from scenerec.world import World
from tests.conftest import MakeConfig
from tests.local_run import LEARNERS, check_logged_samples, learned_by_step, open_job
from tests.matrix import keep

RECIPE: dict[str, Any] = {
    "data": {
        "image_size": 48,
        "train_size": 32,
        "repeats": 3,
        "log_samples": True,
        "augment": {
            "rand_augment": {"num_ops": 2, "magnitude": 9},
            "color_jitter": 0.2,
            "erase": 0.5,
            "erase_mode": "pixel",
        },
    },
    "model": {"arch": "shufflenet_v2_x0_5"},  # with BatchNorm, without dropout
    "optimize": {"epochs": 4, "global_batch_size": 24, "precise_batchnorm": "never"},
    "checkpoint": {"every_steps": 3},
    "track": {"every_steps": 1},
}
"""Of four epochs with four steps: one round of three epochs, and the begin of a second."""


class KilledError(Exception):
    """Instead of a process's end."""


def run(config: TrainConfig, stop_after: int | None = None) -> None:
    job = open_job(config)
    learner = LEARNERS[config.framework](job, World())
    if stop_after is not None:
        batches = learner.training_batches
        learner.training_batches = lambda start: _fail_after(batches(start), stop_after)  # type: ignore[method-assign]
    train(job, World(), learner, lambda event: None, lambda metrics: None)


def _fail_after(batches: Iterator[Any], count: int) -> Iterator[Any]:
    yield from islice(batches, count)
    raise KilledError


def last_state(config: TrainConfig) -> LearnerState:
    folder = RunFolder(config.run_url).checkpoints
    return load_checkpoint(folder, list_checkpoints(folder)[-1]).learner


@pytest.mark.slow
@pytest.mark.parametrize("framework", keep({"torch"}, list(LEARNERS)))
def test_a_killed_recipe_resumes_to_the_last_bit(make_config: MakeConfig, framework: str) -> None:
    whole, config = (make_config(name=name, framework=framework, **RECIPE) for name in ("whole", "killed"))
    run(whole)
    with pytest.raises(KilledError):
        run(config, stop_after=8)
    run(config)
    assert learned_by_step(config.run_url) == learned_by_step(whole.run_url)
    ours, theirs = last_state(config).model, last_state(whole).model
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    check_logged_samples(config.run_url)


@pytest.mark.slow
def test_both_frameworks_learn_and_evaluate_the_same(make_config: MakeConfig) -> None:
    """In float64, in which they are one function: at train_size in training, at image_size in evaluation."""
    optimize = {**RECIPE["optimize"], "epochs": 1, "precision": "fp64"}
    runs = [
        make_config(**{**RECIPE, "name": framework, "framework": framework, "optimize": optimize})
        for framework in LEARNERS
    ]
    for config in runs:
        run(config)
    ours, theirs = (np.array(learned_by_step(config.run_url)) for config in runs)
    np.testing.assert_allclose(ours, theirs, rtol=1e-8)
    (one,), (other,) = (RunFolder(config.run_url).read_history() for config in runs)
    assert one.validation == pytest.approx(other.validation, rel=1e-6)


def test_any_number_of_workers_sees_the_same_batches(make_config: MakeConfig) -> None:
    """The same pixels and colours of the same images: of 4 workers, and of 5, which divide neither batch nor lanes."""
    job = open_job(make_config(**RECIPE))

    def batches(world: World) -> list[torch_input.Batch]:
        return list(
            islice(torch_input.training_input(job.train, job.config.data, job.order, world, Cursor(2, 3), 1), 3)
        )

    alone = [_rows(batch) for batch in batches(World())]
    for workers in (4, 5):
        shares = [batches(World(rank, workers)) for rank in range(workers)]
        together = [sorted(row for share in shares for row in _rows(share[step])) for step in range(len(alone))]
        assert together == [sorted(rows) for rows in alone]
    assert len(alone) == 3 and len(alone[0][0][1]) == 32 * 32 * 3


def _rows(batch: torch_input.Batch) -> list[tuple[str, bytes, list[float], int]]:
    assert batch.colors is not None
    images = batch.images.permute(0, 2, 3, 1).contiguous().numpy()
    rows = zip(batch.names, images, batch.colors.flatten(1).tolist(), batch.labels.tolist(), strict=True)
    return [(name, image.tobytes(), colors, label) for name, image, colors, label in rows]
