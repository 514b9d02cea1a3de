"""A job on a cluster, as the Jobs API describes it."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

INTERRUPTED = "INTERRUPTED"
"""Status of a job that fell silent: it was killed with its cluster, or lost. No cluster has it."""

UNFINISHED = "UNFINISHED"
"""Status of a run without a result and without a job's record: an earlier version's, or one that a search trains."""

_ENDED = ("SUCCEEDED", "FAILED", "STOPPED", INTERRUPTED, UNFINISHED)


_OUT_OF_MEMORY = re.compile(r"OutOfMemory|running low on memory|OOM killer", re.IGNORECASE)


def out_of_memory(message: str) -> bool:
    """Whether Ray says in a message of its own that it killed something because a node's memory ran out."""
    return bool(_OUT_OF_MEMORY.search(message))


@dataclass(frozen=True)
class Job:
    """A job that scenerec submitted, as it was when the cluster was asked."""

    id: str
    """Submission id: the run's name and a random suffix."""
    name: str
    """Name of the run."""
    run_url: str
    """Folder or s3:// prefix of the run."""
    kind: str
    """Kind of the job: train, tune, pack, evaluate."""
    framework: str
    """Framework that trains; "-" or empty where none does."""
    status: str
    """PENDING, RUNNING, SUCCEEDED, FAILED, STOPPED, INTERRUPTED or UNFINISHED."""
    message: str
    """Ray's explanation of the status."""
    exit_code: int | None
    """Exit code of the job's process; None where it runs, or was ended by something else."""
    started_s: float
    """When the job was submitted, in seconds since 1970."""
    ended_s: float | None
    """When the job ended, in seconds since 1970; None while it has not."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in _ENDED

    @property
    def duration_s(self) -> float:
        """Seconds from the submission to the end, or to now."""
        return (self.ended_s or time.time()) - self.started_s

    @classmethod
    def parse(cls, details: Mapping[str, Any]) -> "Job":
        """Reads the Jobs API's description (JobDetails, as JSON) of a submission."""
        metadata = details.get("metadata") or {}
        return cls(
            id=details["submission_id"],
            name=metadata.get("name", ""),
            run_url=metadata.get("run", ""),
            kind=metadata.get("kind", ""),
            framework=metadata.get("framework", ""),
            status=details["status"],
            message=details.get("message") or "",
            exit_code=details.get("driver_exit_code"),
            started_s=(details.get("start_time") or 0) / 1000,
            ended_s=end_ms / 1000 if (end_ms := details.get("end_time")) else None,
        )
