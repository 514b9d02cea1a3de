"""A run's config and plan with its data sets, opened."""

from dataclasses import replace

from scenerec.config.run import RunConfig
from scenerec.config.train import TrainConfig
from scenerec.data.mixed_set import open_training_set
from scenerec.data.packed_set import open_set
from scenerec.storage import IMPATIENT, Patience
from scenerec.training.learner import PretrainingJob, TrainingJob
from scenerec.training.plan import Plan
from scenerec.training.task import task_of


def open_job(config: RunConfig, plan: Plan, patience: Patience = IMPATIENT) -> TrainingJob:
    """What a learner is made from. Raises DataError, StorageError."""
    data, task = config.data, task_of(config)
    train = open_training_set(data, patience)
    if isinstance(config, TrainConfig):
        return TrainingJob(config, plan, train, open_set(config.data.val, cache=data.cache, patience=patience), task)
    job = PretrainingJob(config, plan, train, train, task)
    if config.probe is None:
        return job
    judged = (open_set(url, cache=data.cache, patience=patience) for url in (config.probe.train, config.probe.val))
    return replace(job, probe=(next(judged), next(judged)))
