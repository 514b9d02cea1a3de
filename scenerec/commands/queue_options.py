"""What `scenerec submit` says of a job's place in the queue: owner, priority, labels, and what it goes after."""

import getpass
import os
from collections.abc import Mapping, Sequence
from typing import TypeVar

from pydantic import ValidationError

from cluster.client import ClusterClient
from cluster.queueing import QueueRequest
from scenerec.config.job import JobConfig, QueueConfig
from scenerec.errors import ClusterError, ConfigError
from scenerec.frozen import first_problem
from scenerec.names import did_you_mean

OWNER_VARIABLE = "SCENEREC_OWNER"
"""Variable that names the owner of what is submitted; by default the user's login name."""

Config = TypeVar("Config", bound=JobConfig)


def parse_labels(typed: Sequence[str]) -> dict[str, str]:
    """Reads NAME=VALUE of `--label`. Raises ConfigError."""
    labels: dict[str, str] = {}
    for each in typed:
        name, equals, value = each.partition("=")
        if not (equals and name and value):
            raise ConfigError(f"--label {each}: must be NAME=VALUE, such as team=vision")
        labels[name] = value
    return labels


def with_queue_options(config: Config, priority: int | None, labels: Mapping[str, str]) -> Config:
    """Returns the config with what the options say. Raises ConfigError for what a label may not be."""
    changes = {} if priority is None else {"priority": priority}
    try:
        job = QueueConfig.model_validate(
            {**config.job.model_dump(), **changes, "labels": {**config.job.labels, **labels}}
        )
    except ValidationError as error:
        raise ConfigError(f"job.{first_problem(error)}") from None
    return config.model_copy(update={"job": job})


def queue_request(config: JobConfig, after: tuple[str, ...]) -> QueueRequest:
    """Returns a config's place in the queue, after jobs of these ids."""
    return QueueRequest(_owner(), config.job.priority, after, config.job.labels)


def jobs_before(client: ClusterClient | None, names: Sequence[str]) -> tuple[str, ...]:
    """Finds the jobs of `--after`: by id, else the newest of a run's name. Returns the ids of those to wait for.

    None can go after itself, or in a circle: only what was submitted before is known.

    Raises ClusterError for one that the cluster does not know, or that has ended without success.
    """
    if not names:
        return ()
    if client is None:
        raise ClusterError(f"--after {names[0]}: no cluster is up that could have such a job")
    jobs, found = client.jobs(), list[str]()
    for name in names:
        job = next((job for job in jobs if job.id == name), None) or next(
            (job for job in jobs if job.name == name), None
        )
        if job is None:
            known = [known for job in jobs for known in (job.name, job.id)]
            hint = did_you_mean(name, known) or "`scenerec list` shows all"
            raise ClusterError(f"--after {name}: {client.address.url} has no job of this id or name: {hint}")
        if job.ended and job.status != "SUCCEEDED":
            raise ClusterError(
                f"--after {name}: {job.id} has not succeeded ({job.status}): submit that one again, and then this one"
            )
        if not job.ended and job.id not in found:
            found.append(job.id)
    return tuple(found)


def _owner() -> str:
    if named := os.environ.get(OWNER_VARIABLE):
        return named
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container whose user has no name
        return f"uid-{os.getuid()}"
