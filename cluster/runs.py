"""The runs that lie in stores, whether or not a cluster still knows their jobs."""

import json
import math
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import yaml

from cluster.job import UNFINISHED, Job
from cluster.run_record import log_key, read_record
from cluster.state import cluster_home
from scenerec.errors import NotFoundError, StorageError
from scenerec.storage import LocalStorage, Storage, open_storage

_READERS = 16  # of a store, where each answer takes its time
_OUTPUTS_FILE = "outputs.json"


def remember_output(output: str) -> None:
    """Notes, in the folder of the embedded cluster, that runs of this machine's user lie in `output`."""
    known = remembered_outputs()
    if output not in known:
        home = cluster_home()
        with suppress(OSError, StorageError):  # it is a convenience
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
            LocalStorage(home).put(_OUTPUTS_FILE, json.dumps([*known, output]).encode())  # at once: others may read it


def remembered_outputs() -> list[str]:
    """Returns what `remember_output` has noted, the oldest first."""
    try:
        found = json.loads((cluster_home() / _OUTPUTS_FILE).read_text())
    except (OSError, ValueError):
        return []
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def runs_in(output: str, none_runs: bool = False) -> list[Job]:
    """Returns the newest job of each run right below `output`, in any order. Raises StorageError.

    With `none_runs` a job that has not ended is taken to have been interrupted, and not only once it is silent.
    """
    folder = open_storage(output)
    try:
        names = list(folder.folders())
    except NotFoundError:
        return []
    with ThreadPoolExecutor(_READERS, thread_name_prefix="runs") as threads:
        return [job for job in threads.map(lambda name: _newest_job(folder, name, none_runs), names) if job]


def run_at(run_url: str, none_runs: bool = False) -> Job | None:
    """Returns the newest job of the run in this folder, as `runs_in` does; None where there is none.

    Raises StorageError.
    """
    output, _, name = run_url.rpartition("/")
    try:
        return _newest_job(open_storage(output), name, none_runs)
    except NotFoundError:
        return None


def stored_log(job: Job) -> str:
    """Returns what the job has printed, as far as its run's folder has it. Raises StorageError."""
    try:
        return open_storage(job.run_url).get(log_key(job.id)).decode(errors="replace")
    except NotFoundError:
        return ""


def _newest_job(folder: Storage, name: str, none_runs: bool) -> Job | None:
    if record := read_record(folder, name):
        return record.as_job(math.inf if none_runs else time.time())
    return _job_of_files(folder, name)


def _job_of_files(folder: Storage, name: str) -> Job | None:
    """The job of a run that has no record: of another version's, or of a search's that trained its best config."""
    try:
        config = yaml.safe_load(folder.get(f"{name}/config.yaml"))
    except (NotFoundError, yaml.YAMLError):
        return None
    if not isinstance(config, Mapping):
        return None
    known: Mapping[str, Any] = config
    status = UNFINISHED if folder.size(f"{name}/result.json") is None else "SUCCEEDED"
    kind, framework = str(known.get("kind", "train")), str(known.get("framework", "-"))
    return Job(name, name, f"{folder.url}/{name}", kind, framework, status, "", None, 0.0, 0.0)
