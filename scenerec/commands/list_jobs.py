"""`scenerec list`: the jobs of a cluster."""

import json

import typer

from scenerec.commands import options


def list_jobs(address: options.Address = None, as_json: options.Json = False) -> None:
    """List the jobs of the cluster, the newest first."""
    from scenerec.commands.screen.job_table import client, job_json, show_jobs

    jobs = client(address).jobs()
    if as_json:
        typer.echo(json.dumps([job_json(job) for job in jobs]))
    elif jobs:
        show_jobs(jobs)
    else:
        typer.echo("no jobs yet: scenerec submit train.yaml")
