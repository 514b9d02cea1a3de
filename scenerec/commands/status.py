"""`scenerec status`: how a job is doing."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from cluster.job import INTERRUPTED, UNFINISHED, Job
from scenerec.commands import options
from scenerec.commands.ending import next_step, reason
from scenerec.commands.kinds import is_run, job_kind
from scenerec.commands.known_jobs import KnownJobs
from scenerec.commands.screen.job_table import job_json, show_jobs
from scenerec.commands.screen.live_lines import epoch_words, progress_words, summary
from scenerec.commands.screen.run_curves import curves
from scenerec.epoch_metrics import EpochMetrics
from scenerec.errors import CheckpointError, StorageError
from scenerec.job_log import (
    EpochSummary,
    Event,
    Failure,
    ImageProgress,
    Progress,
    Restart,
    RunResult,
    SearchNews,
    Waiting,
    parse_line,
)
from scenerec.json_object import JsonObject
from scenerec.step_metrics import StepMetrics

app = typer.Typer()


@app.command(epilog="Example: scenerec status places365-resnet50")
def status(
    job: Annotated[
        str | None,
        typer.Argument(metavar="JOB", help="Id of a job, or a run: its name or its folder.", show_default=False),
    ] = None,
    address: options.Address = None,
    as_json: options.Json = False,
) -> None:
    """Show how a job is doing: its state, its newest epoch, what came of it. Without a name: the newest run.

    Of a training also the curves, by step and by epoch: losses, top-1, images/s.

    A run that the cluster knows no more is read from its folder.
    """
    known = KnownJobs(address)
    found = known.find(job) if job else newest_run(known.all())
    if found is None:
        typer.echo("null" if as_json else "no runs yet: scenerec submit train.yaml")
        return
    kind = job_kind(found.kind)
    news = newest(known.log(found), kind.reports)
    history, steps = _measured(found.run_url) if kind.has_epochs else ([], [])
    if as_json:
        events = {name: _plain(event) for name, event in news.items()}
        series = {"history": [json.loads(epoch.model_dump_json()) for epoch in history]} if kind.has_epochs else {}
        typer.echo(json.dumps({**job_json(found), **events, **series}))
        return
    show_jobs([found])
    if found.labels:
        typer.echo(f"{'labels':<9} {', '.join(f'{name}={value}' for name, value in found.labels.items())}")
    for name, event in news.items():
        if words := _words(event):
            typer.echo(f"{name:<9} {words}")
    for line in curves(history, steps, Console().width, sys.stdout.encoding):
        typer.echo(line)
    if isinstance(result := news.get("result"), RunResult):
        kind.show_result(result.content, Console())
    if found.status in ("FAILED", INTERRUPTED, UNFINISHED):
        if "error" not in news:
            typer.echo(f"{'error':<9} it {reason(found)}")
        typer.echo(f"{'next':<9} {next_step(found, known.option(found))}")


def newest_run(jobs: Sequence[Job]) -> Job | None:
    """The job that is meant where none is named, of jobs from the newest on: a run rather than another job, such as a
    packing, and one that has not ended rather than another."""
    runs = [job for job in jobs if is_run(job.kind)] or list(jobs)
    return next((job for job in runs if not job.ended), next(iter(runs), None))


def newest(log: str, reports: Mapping[type, str]) -> dict[str, Event]:
    """The newest event of a log by each name of `reports`, its newest `result` and `error`, and what it waits for now.

    Of a training the furthest is the newest: Ray sends old lines again where a node comes back.
    """
    names = {**reports, RunResult: "result", Failure: "error"}
    events = [event for line in log.splitlines() if (event := parse_line(line))]
    found: dict[str, Event] = {}
    for event in events:
        name = names.get(type(event))
        if name and (name not in found or _place(event) >= _place(found[name])):
            found[name] = event
    if events and isinstance(events[-1], Waiting):
        found["waiting"] = events[-1]
    return found


def _place(event: Event) -> tuple[int, ...]:
    """How far a training is by this event; nothing where the event does not tell."""
    match event:
        case Progress():
            return event.epoch, event.step
        case EpochSummary():
            return (event.epoch,)
        case Restart():
            return (event.restart,)
        case _:
            return ()


def _measured(run_url: str) -> tuple[list[EpochMetrics], list[StepMetrics]]:
    """The finished epochs of a run, and its lines by step; none where its store does not answer, which is said."""
    from scenerec.training.run_folder import RunFolder  # takes a tenth of a second, and other kinds need none

    try:
        folder = RunFolder(run_url)
        return folder.read_history(), folder.read_steps()
    except (StorageError, CheckpointError) as error:
        typer.echo(f"no curves: {error}", err=True)
        return [], []


def _plain(event: Event) -> JsonObject | str:
    match event:
        case RunResult(content):
            return content
        case Failure(message):
            return message
        case Waiting(text):
            return text
        case EpochSummary():
            return event.as_dict()
        case _:
            return asdict(event)


def _words(event: Event) -> str | None:
    """The event in a line; None for a result, which its kind shows."""
    match event:
        case Progress():
            return progress_words(event)
        case EpochSummary():
            return epoch_words(event)
        case SearchNews():
            return summary(event)
        case Restart() | ImageProgress():
            return event.words
        case Failure(message):
            return message
        case Waiting(text):
            return f"for {text}"
        case _:
            return None
