"""Jobs as a table or as JSON."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from cluster.client import ClusterClient, Job


def client(address: str | None) -> "ClusterClient":
    """The jobs of the cluster that is named, else of the embedded one."""
    from cluster.address import find_address
    from cluster.client import ClusterClient

    return ClusterClient(find_address(address))


def job_json(job: "Job") -> dict[str, Any]:
    """The job as plain JSON values."""
    return {**asdict(job), "duration_s": round(job.duration_s, 1)}


def show_jobs(jobs: Sequence["Job"]) -> None:
    """A row for each job, of any width: nothing is cut."""
    from scenerec.job_log import format_duration

    rows = [("JOB", "STATUS", "STARTED", "TOOK", "FRAMEWORK", "RUN")]
    for job in jobs:
        started = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.started_s))
        rows.append((job.id, job.status, started, format_duration(job.duration_s), job.framework, job.run_url))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())
