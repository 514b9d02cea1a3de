"""Training in this process, without a cluster: what many tests begin with."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

from scenerec.checkpoint import read_run_state
from scenerec.config.run import RunConfig
from scenerec.config.train import TrainConfig
from scenerec.data.stream import training_batches, training_cursors
from scenerec.job_log import Event
from scenerec.training import open_job as opening
from scenerec.training import tf_learner, tf_pretrain_learner, torch_learner, torch_pretrain_learner
from scenerec.training.learner import Learner, PretrainingJob, TrainingJob
from scenerec.training.loop import train
from scenerec.training.preflight import plan_job
from scenerec.training.pretrain_preflight import plan_pretraining
from scenerec.training.run_folder import RunFolder
from scenerec.training.sample_log import logged_batches
from scenerec.world import World

LEARNERS: dict[str, Callable[[TrainingJob, World], Learner[Any]]] = {
    "torch": torch_learner.TorchLearner,
    "tensorflow": tf_learner.TfLearner,
}
PRETRAIN_LEARNERS: dict[str, Callable[[PretrainingJob, World], Learner[Any]]] = {
    "torch": torch_pretrain_learner.TorchPretrainLearner,
    "tensorflow": tf_pretrain_learner.TfPretrainLearner,
}


def open_job(config: RunConfig) -> TrainingJob:
    """What a learner is made from: the config, its plan and its data sets."""
    plan = plan_job(config) if isinstance(config, TrainConfig) else plan_pretraining(config)
    return opening.open_job(config, plan)


def make_learner(job: TrainingJob) -> Learner[Any]:
    """The learner of the config's kind and framework, alone in its world."""
    if isinstance(job, PretrainingJob):
        return PRETRAIN_LEARNERS[job.config.framework](job, World())
    return LEARNERS[job.config.framework](job, World())


def train_here(config: RunConfig, say: Callable[[Event], None] = lambda event: None) -> dict[str, Any]:
    """Trains in the config's framework, to the end; returns the content of result.json."""
    job = open_job(config)
    return train(job, World(), make_learner(job), say, lambda metrics: None)


def check_logged_samples(run_url: str, finished: bool = True) -> None:
    """A run's log has each step once, with the samples that the data order says, whatever happened to it.

    Up to the newest checkpoint, which of a finished run is that of its last step.
    """
    folder = RunFolder(run_url)
    config, newest = folder.read_config(), folder.latest_checkpoint()
    assert newest is not None
    state, job = read_run_state(folder.checkpoints, newest), open_job(config)
    order = replace(job.order, lanes=int(state.identity["data.lanes"]))
    batches = training_batches(job.train, order, config.data.augment)  # read from the shards
    expected = [batch.names for batch in islice(batches, None if finished else state.global_step)]
    assert state.global_step == len(expected)
    logged = list(logged_batches(folder.samples, state.global_step))
    assert [batch.samples for batch in logged] == expected
    cursors = islice(training_cursors(job.train.manifest.samples, order), state.global_step)
    assert [batch[:2] for batch in logged] == [(at.epoch, at.step) for at in cursors]


def learned_by_step(run_url: str) -> list[tuple[int, int, int, float, float]]:
    """What steps.jsonl says that no clock has measured: epoch, step, step of the run, loss, learning rate."""
    lines = RunFolder(run_url).read_steps()
    return [(line.epoch, line.step, line.global_step, line.loss, line.lr) for line in lines]


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
    "track": {"every_steps": 4},  # so that a checkpoint lies between two lines
}
"""Blocks of the finished run's config, which has two epochs of six steps."""
