"""`scenerec list`: the jobs of a cluster, and the runs in the stores."""

import json
from typing import Annotated

import typer

from scenerec.commands import options
from scenerec.commands.known_jobs import KnownJobs
from scenerec.commands.queue_options import parse_labels
from scenerec.commands.screen.job_table import job_json, show_jobs

app = typer.Typer()


@app.command(name="list", epilog="Example: scenerec list --label team=vision --json")
def list_jobs(
    label: options.Labels = [],  # noqa: B006 - typer copies it
    owner: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only what this user has submitted.", show_default=False)
    ] = None,
    address: options.Address = None,
    as_json: options.Json = False,
) -> None:
    """List the jobs of the cluster and the runs in the stores, the newest first.

    Runs that the cluster knows no more are found in every output that you have
    submitted to, in the embedded store's s3://scenes/runs, and in the folder that
    SCENEREC_OUTPUT names.

    Of jobs that wait for their turn, it is said what they wait for.
    """
    labels = parse_labels(label).items()
    jobs = [job for job in KnownJobs(address).all() if labels <= job.labels.items() and owner in (None, job.owner)]
    if as_json:
        typer.echo(json.dumps([job_json(job) for job in jobs]))
    elif jobs:
        show_jobs(jobs)
    elif label or owner:
        typer.echo("no such jobs")
    else:
        typer.echo("no jobs yet: scenerec submit train.yaml")
