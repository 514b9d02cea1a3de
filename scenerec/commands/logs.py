"""`scenerec logs`: what a job prints."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console

from scenerec.commands import options
from scenerec.commands.follow import exit_code
from scenerec.commands.follow import follow as follow_job
from scenerec.commands.kinds import job_kind
from scenerec.commands.known_jobs import KnownJobs
from scenerec.commands.screen.live import is_noise, tell
from scenerec.job_log import parse_line

app = typer.Typer()


@app.command(epilog="Examples: scenerec logs -f places365-resnet50 | scenerec logs --tail 20 places365-resnet50")
def logs(
    job: options.JobName,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Until the job has ended; leave with its exit code.")
    ] = False,
    tail: Annotated[
        int | None,
        typer.Option("--tail", "-n", metavar="LINES", min=0, help="Only so many of the newest lines; all without it."),
    ] = None,
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
        told = client.logs(found.id).split("\n") if tail is not None else []
        follow_job(client, found.id, as_json, verbose, others=True, skip=_before_tail(told, tail, verbose))
    console, kind = Console(force_terminal=False), job_kind(found.kind)
    lines = known.log(found).split("\n")
    story = tell(lines[_before_tail(lines, tail, verbose) :], console, kind.view, verbose, others=True)
    if story.result:
        kind.show_result(story.result, console)
    if follow:
        raise typer.Exit(exit_code(found))


def _before_tail(lines: Sequence[str], tail: int | None, verbose: bool) -> int:
    """How many lines of a log come before the newest `tail` that are shown."""
    shown = [place for place, line in enumerate(lines) if verbose or _is_shown(line)]
    return 0 if tail is None or tail >= len(shown) else shown[len(shown) - tail] if tail else len(lines)


def _is_shown(line: str) -> bool:
    return parse_line(line) is not None or bool(line.strip() and not is_noise(line))
