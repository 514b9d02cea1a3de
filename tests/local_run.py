"""Training in this process, without a cluster: what many tests begin with."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

from scenerec.checkpoint import read_run_state
from scenerec.config.train import TrainConfig
from scenerec.data.mixed_set import open_training_set
from scenerec.data.packed_set import open_set
from scenerec.data.stream import training_batches, training_cursors
from scenerec.job_log import Event
from scenerec.training import tf_learner, torch_learner
from scenerec.training.learner import Learner, TrainingJob
from scenerec.training.loop import train
from scenerec.training.preflight import plan_job
from scenerec.training.run_folder import RunFolder
from scenerec.training.sample_log import logged_batches
from scenerec.world import World

LEARNERS: dict[str, Callable[[TrainingJob, World], Learner[Any]]] = {
    "torch": torch_learner.TorchLearner,
    "tensorflow": tf_learner.TfLearner,
}


def open_job(config: TrainConfig) -> TrainingJob:
    """What a learner is made from: the config, its plan and its two data sets."""
    return TrainingJob(config, plan_job(config), open_training_set(config.data), open_set(config.data.val))


def train_here(config: TrainConfig, say: Callable[[Event], None] = lambda event: None) -> dict[str, Any]:
    """Trains in the config's framework, to the end; returns the content of result.json."""
    job = open_job(config)
    return train(job, World(), LEARNERS[config.framework](job, World()), say, lambda metrics: None)


def check_logged_samples(run_url: str, finished: bool = True) -> None:
    """A run's log has each step once, with the samples that the data order says, whatever happened to it.

    Up to the newest checkpoint, which of a finished run is that of its last step.
    """
    folder = RunFolder(run_url)
    config, newest = folder.read_config(), folder.latest_checkpoint()
    assert newest is not None
    state, job = read_run_state(folder.checkpoints, newest), open_job(config)
    order = replace(job.order, lanes=int(state.identity["data.lanes"]))
    expected = [batch.names for batch in training_batches(job.train, order, config.data.augment)]
    assert state.global_step == len(expected) or not finished
    logged = list(logged_batches(folder.samples, state.global_step))
    assert [batch.samples for batch in logged] == expected[: state.global_step]
    cursors = islice(training_cursors(job.train.manifest.samples, order), state.global_step)
    assert [batch[:2] for batch in logged] == [(at.epoch, at.step) for at in cursors]


class FinishedRun(NamedTuple):
    """A run that nothing has interrupted: its config, its result.json and what it said."""

    config: TrainConfig
    result: dict[str, Any]
    events: list[Event]


FINISHED_RUN: dict[str, Any] = {
    "data": {"log_samples": True},
    "model": {"arch": "mobilenet_v3_small"},  # with BatchNorm and dropout
    "optimize": {"optimizer": "adamw", "lr": 0.002, "ema_decay": 0.9, "warmup_epochs": 1},
    "checkpoint": {"every_steps": 2, "keep": 2},
}
"""Blocks of the finished run's config, which has two epochs of six steps."""
