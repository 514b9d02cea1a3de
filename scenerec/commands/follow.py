"""Following a job to its end: what the commands that wait for one have in common."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import typer
from rich.console import Console

from cluster.client import ClusterClient, Job
from scenerec.commands.ending import next_step, reason
from scenerec.commands.kinds import is_run, job_kind
from scenerec.commands.screen.live import Story, tell
from scenerec.errors import StorageError
from scenerec.json_object import JsonObject
from scenerec.storage import open_storage, read_json

STOPPED_EXIT_CODE = 130


def follow(
    client: ClusterClient, job_id: str, as_json: bool, verbose: bool, others: bool = False, skip: int = 0
) -> None:
    """Shows the job until it has ended, then its result, and leaves with the job's exit code.

    Ctrl-C leaves the job running. The first `skip` lines of its log are not shown.
    """
    console = Console(stderr=as_json)
    result = await_result(client, job_id, console, verbose, others, skip)
    job_kind(client.job(job_id).kind).show_result(result, console)
    if as_json:
        typer.echo(json.dumps(result))
    raise typer.Exit(0)


def await_result(
    client: ClusterClient, job_id: str, console: Console, verbose: bool = False, others: bool = False, skip: int = 0
) -> JsonObject:
    """Shows the job until it has ended, and returns its result; leaves as `follow` does where there is none."""
    with farewell(client, job_id):
        kind = job_kind(client.job(job_id).kind)
        story = tell(client.follow(job_id, skip), console, kind.view, verbose, others)
    job = client.job(job_id)
    if job.status == "SUCCEEDED" and (result := story.result or stored_result(job)):
        return result
    explain(job, story, client.address.option)
    raise typer.Exit(exit_code(job) or 1)


def stored_result(job: Job) -> JsonObject | None:
    """The result in the run's folder, for a log that has lost its line."""
    if not is_run(job.kind):
        return None
    with suppress(StorageError):
        return read_json(open_storage(job.run_url), "result.json")
    return None


@contextmanager
def farewell(client: ClusterClient, job_id: str) -> Iterator[None]:
    """Leaves at Ctrl-C with what can be done with a job that goes on."""
    try:
        yield
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would only break off our farewell
        where = f"{job_id}{client.address.option}"
        typer.echo(
            f"\n{job_id} goes on. Follow it: scenerec logs -f {where}   Stop it: scenerec stop {where}", err=True
        )
        raise typer.Exit(STOPPED_EXIT_CODE) from None


def exit_code(job: Job) -> int:
    """The exit code of a command that waited for the job."""
    if job.status == "SUCCEEDED":
        return 0
    if job.status == "STOPPED":
        return STOPPED_EXIT_CODE
    return job.exit_code if job.exit_code and 0 < job.exit_code < 128 else 1


def explain(job: Job, story: Story, where: str) -> None:
    """Says on stderr why there is no result, and what can be done."""
    if job.status == "STOPPED":
        print(f"{job.id}: was stopped", file=sys.stderr)
        return
    for message in story.errors:
        print(f"error: {message}", file=sys.stderr)
    if not story.errors:
        for line in story.tail[-8:]:
            print(f"  {line}", file=sys.stderr)
        print(f"error: {job.id} {reason(job)}", file=sys.stderr)
        print(next_step(job, where), file=sys.stderr)
    print(f"the whole log: scenerec logs --verbose {job.id}{where}", file=sys.stderr)
