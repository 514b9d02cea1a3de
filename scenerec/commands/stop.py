"""`scenerec stop`: end a job."""

import json

import typer

from scenerec.commands import options
from scenerec.commands.known_jobs import KnownJobs
from scenerec.commands.screen.job_table import job_json

app = typer.Typer()


@app.command(epilog="Example: scenerec stop places365-resnet50")
def stop(job: options.JobName, address: options.Address = None, as_json: options.Json = False) -> None:
    """End a job. Submitted again, its run goes on from the newest checkpoint."""
    known = KnownJobs(address)
    found = known.find(job)
    client = known.cluster_of(found)
    ended = client.stop(found.id) if client and not found.ended else found
    if as_json:
        typer.echo(json.dumps(job_json(ended)))
    else:
        typer.echo(f"{ended.id}: {'had ended already: ' if found.ended else ''}{ended.status}")
