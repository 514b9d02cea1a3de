"""Pretraining in this process, without a cluster: what several tests begin with."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenerec.checkpoint import LearnerState, list_checkpoints, load_checkpoint
from scenerec.config.pretrain import PretrainConfig
from scenerec.data.stream import Cursor
from scenerec.training.loop import train
from scenerec.training.run_folder import RunFolder
from scenerec.world import World
from tests.local_run import make_learner, open_job

MOCO: dict[str, Any] = {"method": "mocov2", "queue": 96, "momentum": 0.9, "embedding_size": 16}


def pretrain_config(scenes: Path, output: Path, /, **blocks: Any) -> PretrainConfig:
    """Over 100 scenes without their labels, two steps an epoch; keywords are merged into the blocks."""
    document: dict[str, Any] = {
        "kind": "pretrain",
        "name": "features",
        "framework": "torch",
        "data": {"train": f"{scenes}/train", "image_size": 32},
        "pretrain": {"method": "simclr"},
        "model": {"arch": "squeezenet1_1"},
        "optimize": {"epochs": 2, "global_batch_size": 48, "lr": 0.01, "momentum": 0.9},
        "probe": {"train": f"{scenes}/train", "val": f"{scenes}/val"},
        "output": str(output),
    }
    for name, value in blocks.items():
        document[name] = {**document.get(name, {}), **value} if isinstance(value, dict) else value
    return PretrainConfig.model_validate(document)


class KilledError(Exception):
    """Instead of a process's end."""


def train_until(config: PretrainConfig, step: int) -> None:
    """Trains, and fails before step `step` of this attempt as a killed process would."""
    job = open_job(config)
    learner = make_learner(job)
    batches = learner.training_batches

    def some(start: Cursor) -> Iterator[Any]:
        yield from islice(batches(start), step)
        raise KilledError

    learner.training_batches = some  # type: ignore[method-assign, assignment]
    with pytest.raises(KilledError):
        train(job, World(), learner, lambda event: None, lambda metrics: None)


def last_state(config: PretrainConfig) -> LearnerState:
    folder = RunFolder(config.run_url).checkpoints
    return load_checkpoint(folder, list_checkpoints(folder)[-1]).learner


def same(ours: LearnerState, theirs: LearnerState) -> bool:
    """Whether encoders, momentum encoders and queues are equal bit by bit."""
    pairs = [(getattr(ours, name), getattr(theirs, name)) for name in ("model", "ema", "queue")]
    return all(a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a) for a, b in pairs)
