"""Before a job begins: that no other one is at its run. Two would ruin each other's checkpoints."""

import time

import typer

from cluster.client import ClusterClient
from cluster.run_record import read_record, release_run
from scenerec.commands.known_jobs import has_all_jobs_of
from scenerec.errors import ClusterError
from scenerec.storage import open_storage

_LOOK_EVERY_S = 1.0


def await_free_run(client: ClusterClient, run_url: str) -> None:
    """Returns when a job may begin at a run. What still races is decided when the jobs take the run.

    A job that this cluster does not know, and that has said a moment ago that it is there, is waited for: it was lost
    with its cluster if it does not say so again within a minute.

    Raises ClusterError where a job is at the run, StorageError.
    """
    jobs = {job.id: job for job in client.jobs()}
    for job in jobs.values():
        if job.run_url == run_url and not job.ended:
            where = client.address.option
            raise ClusterError(
                f"job {job.id} is writing {run_url} now ({job.status}): give the new one another name, "
                f"follow that one (scenerec logs -f {job.id}{where}) or end it (scenerec stop {job.id}{where})"
            )
    folder = open_storage(run_url)
    record = read_record(folder)
    if record is None or record.as_job(time.time()).ended:
        return
    if record.job.id in jobs or has_all_jobs_of(client, run_url):
        release_run(folder, jobs.get(record.job.id, record.job))
        return
    typer.echo(
        f"job {record.job.id} of another cluster was at this run a moment ago: looking whether it still is", err=True
    )
    while not (now := read_record(folder) or record).as_job(time.time()).ended:
        if now.seen_s != record.seen_s:
            raise ClusterError(
                f"job {now.job.id} is writing {run_url} now, on another cluster: give the new one another name, or end "
                "that one (scenerec stop, with the other cluster's --address)"
            )
        time.sleep(_LOOK_EVERY_S)
