"""What a run's folder holds of the job that was at it: job.json and the job's log.

The job's own process writes them; by them a run is known where no cluster knows its job any more. job.json is a lease
as well: a job takes a run only from one that has ended, or that has not said for a minute that it is there.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, replace

from pydantic import Field, ValidationError

from cluster.job import INTERRUPTED, Job
from cluster.queueing import QueueRequest
from scenerec.errors import NotFoundError, StorageError
from scenerec.frozen import Frozen
from scenerec.storage import Storage

RECORD_FILE = "job.json"

SEEN_EVERY_S = 20.0
"""How often a job that runs says so, in seconds."""

_RUN_VARIABLE = "SCENEREC_RUN"

SILENCE_S = 3 * SEEN_EVERY_S
"""A job that was not seen for as long has been lost, and another may take its run."""


class RunRecord(Frozen):
    """The content of job.json."""

    job: Job
    """The newest job that was at the run."""
    seen_s: float = Field(default_factory=time.time)
    """When the job said last that it is there, in seconds since 1970."""

    def as_job(self, now_s: float) -> Job:
        """Returns the job as it is now: one that fell silent before it had ended is INTERRUPTED."""
        if self.job.ended or now_s - self.seen_s < SILENCE_S:
            return self.job
        return replace(self.job, status=INTERRUPTED, ended_s=self.seen_s)


def run_environment(
    name: str, run_url: str, kind: str, framework: str, request: QueueRequest | None = None
) -> dict[str, str]:
    """Returns the variables by which a job's process knows the run that it is at, and its place in the queue."""
    run = {"name": name, "run_url": run_url, "kind": kind, "framework": framework, **asdict(request or QueueRequest())}
    return {_RUN_VARIABLE: json.dumps(run)}


def job_of_environment(variables: Mapping[str, str] = os.environ) -> Job | None:
    """Returns this process's job, as it begins now; None where it is at no run."""
    if not (run := variables.get(_RUN_VARIABLE)):
        return None
    known = json.loads(run)
    return Job(
        id=variables["SCENEREC_JOB_ID"],
        **{**known, "after": tuple(known.get("after", ()))},
        status="RUNNING",
        message="",
        exit_code=None,
        started_s=time.time(),
        ended_s=None,
    )


def log_key(job_id: str) -> str:
    """Returns the key of a job's log in its run's folder."""
    return f"logs/{job_id}.log"


def hold_run(folder: Storage, job: Job, is_held: bool) -> Job | None:
    """Writes job.json, if the run is this job's or may become it; else returns the job that has it.

    Of several jobs that take a run at once one gets it, by the store's conditional writes. In a store that has none
    the last one gets it, and the others see it when they write next.

    Args:
        folder: the run's.
        job: as it is now.
        is_held: whether the run was this job's before: then it does not take it from one that took it meanwhile.

    Raises StorageError.
    """
    while True:
        found = folder.get_versioned(RECORD_FILE)
        record = _parse(found[0]) if found else None
        if record and record.job.id != job.id and (is_held or not record.as_job(time.time()).ended):
            return record.job
        content = RunRecord(job=job).model_dump_json(indent=1).encode()
        try:
            if folder.put_if(RECORD_FILE, content, found and found[1]):
                return None
        except StorageError:
            folder.put(RECORD_FILE, content)
            return None


def release_run(folder: Storage, job: Job) -> None:
    """Notes in job.json that the job is known to have ended, though it could not say so itself. Raises StorageError."""
    hold_run(folder, job if job.ended else replace(job, status=INTERRUPTED, ended_s=time.time()), is_held=True)


def read_record(folder: Storage, name: str = "") -> RunRecord | None:
    """Reads job.json of a run, in a subfolder of that name where one is given.

    None where there is none, or it is of another version of scenerec. Raises StorageError.
    """
    try:
        return _parse(folder.get(f"{name}/{RECORD_FILE}" if name else RECORD_FILE))
    except NotFoundError:
        return None


def _parse(content: bytes) -> RunRecord | None:
    try:
        return RunRecord.model_validate_json(content)
    except ValidationError:
        return None
