"""Where a run is shown beside its own folder, while a job of this cluster trains it."""

import os
from contextlib import AbstractContextManager, nullcontext

from cluster.run_record import job_of_environment
from cluster.working_dir import COMMIT_VARIABLE
from jobs.log import say
from scenerec.config.run import RunConfig
from scenerec.config.tune import TuneConfig
from scenerec.data.mixed_set import open_training_set
from scenerec.search.mlflow_trials import MlflowTrials
from scenerec.training.mlflow_mirror import MlflowMirror


def shown_elsewhere(config: RunConfig) -> AbstractContextManager[object]:
    """Shows the run where its config says (`track.mlflow`), until the context ends; by default nowhere.

    Raises MissingPartError where what that needs is not installed; a server that does not answer stops nothing.
    """
    return MlflowMirror(config, say, _tags(config)) if config.track.mlflow else nullcontext()


def trials_shown_elsewhere(config: TuneConfig) -> AbstractContextManager[object]:
    """Shows the trials of a search where its base config says, until the context ends. Raises as the above."""
    return MlflowTrials(config, say, _origin(config.name)) if config.base.track.mlflow else nullcontext()


def _tags(config: RunConfig) -> dict[str, str]:
    """What is told of a run's origin."""
    data = open_training_set(config.data, config.data.patience)
    return {**_origin(config.name), "scenerec.fingerprint": data.manifest.fingerprint}


def _origin(name: str) -> dict[str, str]:
    """What MLflow's page shows of a run's origin, by its own names where it has some."""
    job = job_of_environment()
    tags = {
        "mlflow.source.name": job.id if job else name,
        "mlflow.source.type": "JOB",
        "mlflow.source.git.commit": os.environ.get(COMMIT_VARIABLE),
        "mlflow.user": job.owner if job else None,
    }
    return {key: value for key, value in tags.items() if value}
