"""A job on a cluster, as the Jobs API describes it."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

INTERRUPTED = "INTERRUPTED"
"""Status of a job that fell silent: it was killed with its cluster, or lost. No cluster has it."""

UNFINISHED = "UNFINISHED"
"""Status of a run without a result and without a job's record: an earlier version's, or one that a search trains."""

WAITING = "WAITING"
"""Status of a job whose process waits for its turn."""

_ENDED = ("SUCCEEDED", "FAILED", "STOPPED", INTERRUPTED, UNFINISHED)


_OUT_OF_MEMORY = re.compile(r"OutOfMemory|running low on memory|OOM killer", re.IGNORECASE)


def out_of_memory(message: str) -> bool:
    """Whether Ray says in a message of its own that it killed something because a node's memory ran out."""
    return bool(_OUT_OF_MEMORY.search(message))


class Turn(StrEnum):
    """Where a job is in the cluster's queue."""

    NONE = ""
    """Not in it: it is no training and no search, or of another version."""
    WAITING = "waiting"
    """Submitted, and not yet begun. Where nothing limits the jobs, it stays so."""
    CLAIMED = "claimed"
    """About to begin, if no other has claimed the same place."""
    GIVEN = "given"
    """It has begun."""


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
    """PENDING, WAITING, RUNNING, SUCCEEDED, FAILED, STOPPED, INTERRUPTED or UNFINISHED."""
    message: str
    """Ray's explanation of the status."""
    exit_code: int | None
    """Exit code of the job's process; None where it runs, or was ended by something else."""
    started_s: float
    """When the job was submitted, in seconds since 1970."""
    ended_s: float | None
    """When the job ended, in seconds since 1970; None while it has not."""
    owner: str = ""
    """Who has submitted it; empty where that is not known."""
    priority: int = 0
    """Jobs of a higher number go first."""
    after: tuple[str, ...] = ()
    """Ids of jobs that have to succeed before it begins."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Names and values by which people find it."""
    turn: Turn = Turn.NONE
    """Where it is in the queue."""
    waits_for: str = ""
    """What a WAITING job waits for, in words."""

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
        status, waits_for = details["status"], metadata.get("waits_for", "")
        if status != "RUNNING":
            waits_for = ""
        return cls(
            id=details["submission_id"],
            name=metadata.get("name", ""),
            run_url=metadata.get("run", ""),
            kind=metadata.get("kind", ""),
            framework=metadata.get("framework", ""),
            status=WAITING if waits_for else status,
            message=details.get("message") or "",
            exit_code=details.get("driver_exit_code"),
            started_s=(details.get("start_time") or 0) / 1000,
            ended_s=end_ms / 1000 if (end_ms := details.get("end_time")) else None,
            owner=metadata.get("owner", ""),
            priority=int(metadata.get("priority") or 0),
            after=tuple(metadata.get("after", "").split()),
            labels=json.loads(metadata.get("labels") or "{}"),
            turn=Turn(metadata.get("turn", "")),
            waits_for=waits_for,
        )
