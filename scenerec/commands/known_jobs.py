"""The jobs that a command can be asked about: those of a cluster, and of the runs in stores that it has forgotten."""

import os
from collections.abc import Sequence

import typer

from cluster import local
from cluster.client import ClusterClient
from cluster.environment import names_store_of
from cluster.job import Job
from cluster.runs import remembered_outputs, run_at, runs_in, stored_log
from scenerec.commands import options
from scenerec.commands.connect import connect, connect_if_up
from scenerec.errors import ClusterError, StorageError

OUTPUT_VARIABLE = "SCENEREC_OUTPUT"
"""Variable that names an output, where all runs of a team may lie."""

_EMBEDDED_OUTPUT = "s3://scenes/runs"  # that of our recipes


class KnownJobs:
    """The jobs of the cluster, and the runs of the outputs that are known here.

    These are $SCENEREC_OUTPUT, the embedded store's s3://scenes/runs, and those that jobs were submitted to from here.

    Args:
        address: the cluster's, as typed; by default the one that is up, if there is one.
    """

    def __init__(self, address: str | None) -> None:
        self._address = address
        self.client: ClusterClient | None = connect_if_up(address)
        self._of_cluster: list[Job] = self.client.jobs() if self.client else []

    def all(self) -> list[Job]:
        """Returns all of them, the newest first; a run in a store by its newest job. Raises ClusterError."""
        ids, found, problems = {job.id for job in self._of_cluster}, list(self._of_cluster), []
        for output in self._outputs():
            try:
                runs = self._runs_in(output)
                found += [job for job in runs if job.id not in ids and not self._is_newer_here(job)]
            except StorageError as error:
                problems.append(str(error))
        if not found and self.client is None:
            connect(self._address)  # which says what to do where there is no cluster
        self._tell(problems)
        return sorted(found, key=lambda job: job.started_s, reverse=True)

    def find(self, what: str) -> Job:
        """Returns the job of an id, else the newest of the run of this name or in this folder.

        Raises ClusterError where nobody knows it, ConfigError, StorageError.
        """
        by_id = (job for job in self._of_cluster if job.id == what)
        by_name = (job for job in self._of_cluster if job.name == what)
        if known := next(by_id, None) or next(by_name, None):
            return known
        if options.is_location(what):
            url = options.location("JOB", what)
            if run := next((job for job in self._of_cluster if job.run_url == url), None) or self._run_at(url):
                return run
            if "/" in what:
                raise ClusterError(f"{url}: no run lies there: it has neither a job.json nor a config.yaml")
        outputs, found, problems = self._outputs(), [], []
        for output in outputs:
            try:
                of_id = (job for job in self._runs_in(output) if job.id == what)
                run = self._run_at(f"{output}/{what}") or next(of_id, None)
                found += [run] if run else []
            except StorageError as error:
                problems.append(str(error))
        if found:
            return max(found, key=lambda job: job.started_s)
        if self.client is None:
            raise ClusterError(
                f"{what}: no cluster is up that could know a run of this name: start it with `scenerec cluster up`, "
                f"name one by --address, or give the run's folder, such as {_EMBEDDED_OUTPUT}/{what}"
            )
        self._tell(problems)
        raise ClusterError(
            f"{what}: no job or run of this name on {self.client.address.url}, nor in {', '.join(outputs)}: "
            "see `scenerec list`, or give the run's folder"
        )

    def log(self, job: Job) -> str:
        """Returns what the job has printed: all of it where the cluster knows the job. Raises ClusterError."""
        client = self._client_of(job)
        return client.logs(job.id) if client else stored_log(job)

    def cluster_of(self, job: Job) -> ClusterClient | None:
        """Returns the cluster that knows the job, None where it has ended and none does.

        Raises ClusterError for a job that runs somewhere else.
        """
        client = self._client_of(job)
        if client is None and not job.ended:
            raise ClusterError(f"{job.id}: runs on another cluster: name it by --address")
        return client

    def option(self, job: Job) -> str:
        """Returns what leads a command line to the job's cluster: " --address URL", or nothing."""
        client = self._client_of(job)
        return client.address.option if client else ""

    def _client_of(self, job: Job) -> ClusterClient | None:
        return self.client if any(each.id == job.id for each in self._of_cluster) else None

    def _run_at(self, url: str) -> Job | None:
        return run_at(url, has_all_jobs_of(self.client, url))

    def _runs_in(self, output: str) -> list[Job]:
        return runs_in(output, has_all_jobs_of(self.client, output))

    def _tell(self, problems: Sequence[str]) -> None:
        for problem in problems:
            typer.echo(problem, err=True)

    def _outputs(self) -> list[str]:
        named = os.environ.get(OUTPUT_VARIABLE)
        first = [options.location(OUTPUT_VARIABLE, named)] if named else []
        if self.client and self.client.address.embedded:
            first.append(_EMBEDDED_OUTPUT)
        return list(dict.fromkeys([*first, *remembered_outputs()]))

    def _is_newer_here(self, stored: Job) -> bool:
        return any(job.run_url == stored.run_url and job.started_s > stored.started_s for job in self._of_cluster)


def has_all_jobs_of(client: ClusterClient | None, url: str) -> bool:
    """Whether a place is in the store of the embedded cluster: no other has jobs there."""
    embedded = local.find() if client and client.address.embedded else None
    return bool(url.startswith("s3://") and embedded and names_store_of(embedded))
