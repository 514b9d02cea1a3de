"""The learner of a job: by its framework, and by whether labels are learned or a backbone is pretrained."""

from typing import Any

from scenerec.large_imports import large_imports
from scenerec.training.learner import Learner, PretrainingJob, TrainingJob
from scenerec.world import World


def make_learner(job: TrainingJob, world: World) -> Learner[Any]:
    """Makes the learner of a job, on as many cores as the job gives each worker.

    What several ranks need to find each other is set up already. Raises ModelError, StorageError.
    """
    threads = job.config.scale.cpus_per_worker
    if job.config.framework == "torch":
        with large_imports():
            from scenerec.training import torch_learner, torch_pretrain_learner

        torch_learner.use_threads(threads)
        if isinstance(job, PretrainingJob):
            return torch_pretrain_learner.TorchPretrainLearner(job, world)
        return torch_learner.TorchLearner(job, world)
    with large_imports():
        from scenerec.training import tf_learner, tf_pretrain_learner

    tf_learner.use_threads(threads)
    if isinstance(job, PretrainingJob):
        return tf_pretrain_learner.TfPretrainLearner(job, world)
    return tf_learner.TfLearner(job, world)
