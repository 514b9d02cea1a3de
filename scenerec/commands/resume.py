"""`scenerec submit --resume RUN`: the job of a run that goes on."""

from collections.abc import Callable, Sequence

from cluster.client import ClusterClient
from scenerec.commands import options
from scenerec.commands.kinds import file_kind
from scenerec.commands.known_jobs import KnownJobs
from scenerec.config.job import JobConfig
from scenerec.errors import CheckpointError, ConfigError
from scenerec.training.run_folder import RunFolder


def resumed_config(
    run: str, overrides: Sequence[str], connect: Callable[[], ClusterClient | None], address: str | None
) -> JobConfig:
    """Reads the config of a run that shall go on: its own config.yaml, with overrides.

    Args:
        run: its folder, or its name in the list of jobs and runs.
        overrides: changed values, such as "optimize.epochs=9".
        connect: returns the cluster, None where none is up; not called for a local folder.
        address: the cluster's, as typed.

    Raises ConfigError, CheckpointError, StorageError or ClusterError where there is no such run, it has no checkpoint,
    or the overrides would make another run of it.
    """
    folder = RunFolder(_run_url(run, connect, address))
    config = folder.read_job(overrides)
    if config.run_url != folder.url:
        raise ConfigError(
            f"{folder.url}: its config.yaml is that of {config.run_url}: resume that one without --set of name and "
            "output; of a run that was moved or renamed, set both to where it is now"
        )
    if file_kind(config).resumes_from_checkpoint and folder.latest_checkpoint() is None:
        raise CheckpointError(
            f"{folder.url}: has no checkpoint to go on from: begin anew, with the run's config.yaml as FILE"
        )
    return config


def _run_url(run: str, connect: Callable[[], ClusterClient | None], address: str | None) -> str:
    if options.is_location(run):
        url = options.location("--resume", run)
        if url.startswith("s3://"):
            connect()  # the run may lie in the cluster's own store
        return url
    connect()
    return KnownJobs(address).find(run).run_url
