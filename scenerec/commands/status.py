"""`scenerec status`: how a job is doing."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scenerec.commands import options

if TYPE_CHECKING:
    from cluster.client import ClusterClient, Job


def status(
    job: Annotated[
        str | None, typer.Argument(metavar="JOB", help="Id of a job, or name of a run.", show_default=False)
    ] = None,
    address: options.Address = None,
    as_json: options.Json = False,
) -> None:
    """Show how a job is doing: its state and its newest epoch. Without a name: the newest job."""
    from scenerec.commands.screen.job_table import client as open_client
    from scenerec.commands.screen.job_table import job_json, show_jobs

    client = open_client(address)
    found = client.find(job) if job else _newest(client)
    if found is None:
        typer.echo("null" if as_json else "no jobs yet: scenerec submit train.yaml")
        return
    news = _news(client.logs(found.id))
    if as_json:
        typer.echo(json.dumps({**job_json(found), **news}))
        return
    show_jobs([found])
    for what, value in news.items():
        typer.echo(f"{what:<9} {value if isinstance(value, str) else _flat(value)}")
    if found.status == "FAILED" and "error" not in news:
        typer.echo(f"{'error':<9} {found.message.splitlines()[0]}")


def _newest(client: "ClusterClient") -> "Job | None":
    return next(iter(client.jobs()), None)


def _news(log: str) -> dict[str, Any]:
    """The newest progress, epoch, state of a search, result and error of a job's log."""
    from dataclasses import asdict

    from scenerec.job_log import EpochSummary, Failure, Progress, RunResult, SearchNews, parse_line

    news: dict[str, Any] = {}
    for line in log.splitlines():
        match parse_line(line):
            case Progress() as progress:
                news["progress"] = asdict(progress)
            case SearchNews() as search:
                news["search"] = asdict(search)
            case EpochSummary() as summary:
                news["epoch"] = summary.as_dict()
            case RunResult(content):
                news["result"] = content
            case Failure(message):
                news["error"] = message
    return news


def _flat(value: dict[str, Any]) -> str:
    return "  ".join(f"{key} {each:.6g}" if isinstance(each, float) else f"{key} {each}" for key, each in value.items())
