"""`scenerec logs`: what a job prints."""

from typing import Annotated

import typer
from rich.console import Console

from scenerec.commands import options
from scenerec.commands.follow import exit_code
from scenerec.commands.follow import follow as follow_job
from scenerec.commands.kinds import job_kind
from scenerec.commands.known_jobs import KnownJobs
from scenerec.commands.screen.live import tell

app = typer.Typer()


@app.command(epilog="Example: scenerec logs -f places365-resnet50")
def logs(
    job: options.JobName,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Until the job has ended; leave with its exit code.")
    ] = False,
    address: options.Address = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="With -f: the result as JSON on the last line of stdout.")
    ] = False,
    verbose: options.Verbose = False,
) -> None:
    """Show what a job has printed, without Ray's own lines.

    Of a run that the cluster knows no more it is what its folder holds.
    """
    known = KnownJobs(address)
    found = known.find(job)
    if follow and (client := known.cluster_of(found)):
        follow_job(client, found.id, as_json, verbose, others=True)
    console, kind = Console(force_terminal=False), job_kind(found.kind)
    story = tell(known.log(found).split("\n"), console, kind.view, verbose, others=True)
    if story.result:
        kind.show_result(story.result, console)
    if follow:
        raise typer.Exit(exit_code(found))
