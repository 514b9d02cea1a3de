"""`scenerec stop`: end a job."""

import json

import typer

from scenerec.commands import options
from scenerec.commands.known_jobs import KnownJobs
from scenerec.commands.screen.job_table import job_json
from scenerec.errors import ClusterError

app = typer.Typer()


@app.command(epilog="Example: scenerec stop places365-resnet50")
def stop(job: options.JobName, address: options.Address = None, as_json: options.Json = False) -> None:
    """End a job. Submitted again, its run goes on from the newest checkpoint."""
    known = KnownJobs(address)
    found = known.find(job)
    if not found.ended and not (known.client and known.is_on_cluster(found)):
        raise ClusterError(f"{found.id}: runs on another cluster: name it by --address")
    ended = known.client.stop(found.id) if known.client and not found.ended else found
    if as_json:
        typer.echo(json.dumps(job_json(ended)))
    else:
        typer.echo(f"{ended.id}: {'had ended already: ' if found.ended else ''}{ended.status}")
