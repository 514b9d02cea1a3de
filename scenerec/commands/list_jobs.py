"""`scenerec list`: the jobs of a cluster."""

import json

import typer

from scenerec.commands import options
from scenerec.commands.connect import connect
from scenerec.commands.screen.job_table import job_json, show_jobs

app = typer.Typer()


@app.command(name="list", epilog="Example: scenerec list --json")
def list_jobs(address: options.Address = None, as_json: options.Json = False) -> None:
    """List the jobs of the cluster, the newest first."""
    jobs = connect(address).jobs()
    if as_json:
        typer.echo(json.dumps([job_json(job) for job in jobs]))
    elif jobs:
        show_jobs(jobs)
    else:
        typer.echo("no jobs yet: scenerec submit train.yaml")
