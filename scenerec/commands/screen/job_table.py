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
    """Prints a row for each job, of any width: nothing is cut."""
    rows = [("JOB", "STATUS", "STARTED", "TOOK", "FRAMEWORK", "RUN")]
    for job in jobs:
        started, took = "-", "-"  # not known of a run that an earlier version has made
        if job.started_s:
            started = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.started_s))
            took = format_duration(job.duration_s)
        rows.append((job.id, job.status, started, took, job.framework, job.run_url))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())
