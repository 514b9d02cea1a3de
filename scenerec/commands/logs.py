"""`scenerec logs`: what a job prints."""

from typing import Annotated

import typer

from scenerec.commands import options


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
    """Show what a job has printed, without Ray's own lines."""
    from rich.console import Console

    from scenerec.commands.follow import follow as follow_job
    from scenerec.commands.screen.job_table import client as open_client
    from scenerec.commands.screen.live import show_result, tell

    client = open_client(address)
    found = client.find(job)
    if follow:
        follow_job(client, found.id, as_json, verbose, others=True)
    console = Console(force_terminal=False)
    story = tell(client.logs(found.id).split("\n"), console, verbose, others=True, kind=found.kind)
    if story.result:
        show_result(story.result, console)
