"""A job on the cluster whose network learns from a teacher in the store."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenerec.checkpoint import LearnerState, list_checkpoints, load_checkpoint
from scenerec.config.train import TrainConfig
from scenerec.storage import open_storage
from scenerec.training.run_folder import RunFolder
from tests.local_run import FinishedRun, train_here
from tests.submitted import submit_document


def last_state(config: TrainConfig) -> LearnerState:
    checkpoints = RunFolder(config.run_url).checkpoints
    return load_checkpoint(checkpoints, list_checkpoints(checkpoints)[-1]).learner


@pytest.mark.parametrize("framework", ["tensorflow", pytest.param("torch", marks=pytest.mark.matrix)])
def test_two_workers_learn_from_a_teacher_as_one_does(
    make_config: Callable[..., TrainConfig],
    finished_run: Callable[[str], FinishedRun],
    stored_scenes: str,
    tmp_path: Path,
    framework: str,
) -> None:
    """And whichever framework trained the teacher. What is frozen sees no batch, so that its shares do not matter."""
    trained, teacher = open_storage(finished_run("torch").config.run_url), f"s3://scenes/teachers/{framework}"
    for info in trained.list():
        open_storage(teacher).put(info.key, trained.get(info.key))
    blocks: dict[str, Any] = {
        "data": {"train": f"{stored_scenes}/train", "val": f"{stored_scenes}/val", "image_size": 32, "lanes": 12},
        "model": {"arch": "resnet18", "freeze": "backbone"},
        "optimize": {"epochs": 1, "global_batch_size": 16, "lr": 0.1, "distill": {"teacher": teacher}},
    }
    one = make_config(name="one", **blocks)
    train_here(one)
    name = f"distilled-{framework}"
    document = {"kind": "train", "name": name, "framework": framework, "output": "s3://scenes/runs", **blocks}
    done = submit_document(tmp_path / "train.yaml", {**document, "scale": {"workers": 2}})
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"mobilenet_v3_small at 32 px, {teacher}/checkpoints/step-" in done.stdout + done.stderr
    two = RunFolder(f"s3://scenes/runs/{name}").read_config()
    ours, theirs = last_state(one).model, last_state(two).model
    for key, array in ours.items():
        np.testing.assert_allclose(theirs[key], array, atol=2e-4, err_msg=key)
    losses = [RunFolder(config.run_url).read_history()[-1].train_loss for config in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
