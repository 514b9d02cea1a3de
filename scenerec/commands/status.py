"""`scenerec status`: how a job is doing."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated

import typer

from scenerec.commands import options
from scenerec.commands.connect import connect
from scenerec.commands.kinds import job_kind
from scenerec.commands.screen.job_table import job_json, show_jobs
from scenerec.job_log import EpochSummary, Failure, RunResult, parse_line
from scenerec.json_object import JsonObject

app = typer.Typer()


@app.command(epilog="Example: scenerec status places365-resnet50")
def status(
    job: Annotated[
        str | None, typer.Argument(metavar="JOB", help="Id of a job, or name of a run.", show_default=False)
    ] = None,
    address: options.Address = None,
    as_json: options.Json = False,
) -> None:
    """Show how a job is doing: its state and its newest epoch. Without a name: the newest job."""
    client = connect(address)
    found = client.find(job) if job else next(iter(client.jobs()), None)
    if found is None:
        typer.echo("null" if as_json else "no jobs yet: scenerec submit train.yaml")
        return
    news = newest(client.logs(found.id), job_kind(found.kind).reports)
    if as_json:
        typer.echo(json.dumps({**job_json(found), **news}))
        return
    show_jobs([found])
    for what, value in news.items():
        typer.echo(f"{what:<9} {value if isinstance(value, str) else _flat(value)}")
    if found.status == "FAILED" and "error" not in news:
        typer.echo(f"{'error':<9} {found.message.splitlines()[0]}")


def newest(log: str, reports: Mapping[type, str]) -> JsonObject:
    """The newest event of a log by each name of `reports`, as plain values, and its newest `result` and `error`."""
    news: JsonObject = {}
    for line in log.splitlines():
        match parse_line(line):
            case RunResult(content):
                news["result"] = content
            case Failure(message):
                news["error"] = message
            case event if event and type(event) in reports:
                news[reports[type(event)]] = event.as_dict() if isinstance(event, EpochSummary) else asdict(event)
    return news


def _flat(value: JsonObject) -> str:
    return "  ".join(f"{key} {each:.6g}" if isinstance(each, float) else f"{key} {each}" for key, each in value.items())
