"""`scenerec list`: the jobs of a cluster, and the runs in the stores."""

import json

import typer

from scenerec.commands import options
from scenerec.commands.known_jobs import KnownJobs
from scenerec.commands.screen.job_table import job_json, show_jobs

app = typer.Typer()


@app.command(name="list", epilog="Example: scenerec list --json")
def list_jobs(address: options.Address = None, as_json: options.Json = False) -> None:
    """List the jobs of the cluster and the runs in the stores, the newest first.

    Runs that the cluster knows no more are found in every output that you have
    submitted to, in the embedded store's s3://scenes/runs, and in the folder that
    SCENEREC_OUTPUT names.
    """
    jobs = KnownJobs(address).all()
    if as_json:
        typer.echo(json.dumps([job_json(job) for job in jobs]))
    elif jobs:
        show_jobs(jobs)
    else:
        typer.echo("no jobs yet: scenerec submit train.yaml")
