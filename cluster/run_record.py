"""What a run's folder holds of the job that was at it: job.json and the job's log.

The job's own process writes them; by them a run is known where no cluster knows its job any more.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import replace

from pydantic import Field, ValidationError

from cluster.job import INTERRUPTED, Job
from scenerec.errors import NotFoundError
from scenerec.frozen import Frozen
from scenerec.storage import Storage

RECORD_FILE = "job.json"

SEEN_EVERY_S = 20.0
"""How often a job that runs says so, in seconds."""

_RUN_VARIABLE = "SCENEREC_RUN"

_SILENCE_S = 3 * SEEN_EVERY_S


class RunRecord(Frozen):
    """The content of job.json."""

    job: Job
    """The newest job that was at the run."""
    seen_s: float = Field(default_factory=time.time)
    """When the job said last that it is there, in seconds since 1970."""

    def as_job(self, now_s: float) -> Job:
        """Returns the job as it is now: one that fell silent before it had ended is INTERRUPTED."""
        if self.job.ended or now_s - self.seen_s < _SILENCE_S:
            return self.job
        return replace(self.job, status=INTERRUPTED, ended_s=self.seen_s)


def run_environment(name: str, run_url: str, kind: str, framework: str) -> dict[str, str]:
    """Returns the variables by which a job's process knows the run that it is at."""
    run = {"name": name, "run_url": run_url, "kind": kind, "framework": framework}
    return {_RUN_VARIABLE: json.dumps(run)}


def job_of_environment(variables: Mapping[str, str] = os.environ) -> Job | None:
    """Returns this process's job, as it begins now; None where it is at no run."""
    if not (run := variables.get(_RUN_VARIABLE)):
        return None
    return Job(
        id=variables["SCENEREC_JOB_ID"],
        **json.loads(run),
        status="RUNNING",
        message="",
        exit_code=None,
        started_s=time.time(),
        ended_s=None,
    )


def log_key(job_id: str) -> str:
    """Returns the key of a job's log in its run's folder."""
    return f"logs/{job_id}.log"


def write_record(folder: Storage, job: Job) -> None:
    """Writes job.json. Raises StorageError."""
    folder.put(RECORD_FILE, RunRecord(job=job).model_dump_json(indent=1).encode())


def read_record(folder: Storage, name: str = "") -> RunRecord | None:
    """Reads job.json of a run, in a subfolder of that name where one is given.

    None where there is none, or it is of another version of scenerec. Raises StorageError.
    """
    try:
        return RunRecord.model_validate_json(folder.get(f"{name}/{RECORD_FILE}" if name else RECORD_FILE))
    except (NotFoundError, ValidationError):
        return None
