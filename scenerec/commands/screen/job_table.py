"""Jobs as a table or as JSON."""

import time
from collections.abc import Sequence
from dataclasses import asdict

import typer

from cluster.client import Job
from scenerec.job_log import format_duration
from scenerec.json_object import JsonObject


def job_json(job: Job) -> JsonObject:
    """Returns the job as plain JSON values."""
    return {**asdict(job), "duration_s": round(job.duration_s, 1)}


def show_jobs(jobs: Sequence[Job]) -> None:
    """Prints a row for each job."""
    rows: list[tuple[str, ...]] = [("JOB", "STATUS", "STARTED", "TOOK", "OWNER", "FRAMEWORK", "RUN", "WAITS FOR")]
    for job in jobs:
        started, took = "-", "-"  # not known of a run that an earlier version has made
        if job.started_s:
            started = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.started_s))
            took = format_duration(job.duration_s)
        priority = f" (priority {job.priority})" if job.waits_for and job.priority else ""
        waits_for = f"{job.waits_for}{priority}"
        rows.append((job.id, job.status, started, took, job.owner, job.framework, job.run_url, waits_for))
    show_rows(rows)


def show_rows(rows: Sequence[Sequence[str]]) -> None:
    """Prints a table of any width, the titles first: nothing is cut, and a column without content is left out."""
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    for row in zip(*columns, strict=True):
        cells = ((cell or "-").ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())
