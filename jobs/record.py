"""What a job keeps of itself in its run's folder while it runs: job.json, by which the run is its own, and its log."""

import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from cluster.job import WAITING, Job
from cluster.run_record import SEEN_EVERY_S, hold_run, job_of_environment, log_key
from jobs.log import say
from scenerec.errors import ClusterError, StorageError
from scenerec.job_log import Failure
from scenerec.storage import Storage, open_storage

_SECONDS_PER_MB = 5.0  # of a log, which is written whole each time


@contextmanager
def recorded() -> Iterator["Record"]:
    """Keeps job.json and the log up to date until the job ends; does nothing for a job that is at no run.

    A store that does not answer does not stop the job: what it does write, it reports itself. A job whose run another
    one has taken meanwhile, for it was silent for too long, ends as by SIGTERM.
    """
    record = Record(job_of_environment())
    try:
        yield record
    except BaseException:  # such as SystemExit, Ray's answer to SIGTERM
        record.end("STOPPED")
        raise
    if not record.has_ended:
        record.end("SUCCEEDED", exit_code=0)


class Record:
    """The record of one job; without a job it keeps nothing.

    Args:
        job: as it begins, None at no run. It is kept up to date as `job`.
    """

    def __init__(self, job: Job | None) -> None:
        self.job = job
        self._log = _log_file()
        self._logged_bytes, self._log_due_s = 0, 0.0
        self._folder: Storage | None = None  # one for all writes: it remembers what the store can do
        self._writing = threading.Lock()  # the keeper writes, and whoever has news
        self._is_held = False
        self._other: Job | None = None  # which has the run
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="run-record", daemon=True)

    def begin(self) -> None:
        """Takes the run, and keeps it. Raises ClusterError where another job has it."""
        self._write()
        if self._other:
            raise ClusterError(_taken(self._other))
        self._keeper.start()

    def tell_waiting(self, waits_for: str) -> None:
        """Writes what the job waits for before it begins; empty: it begins."""
        if self.job:
            self.job = replace(self.job, status=WAITING if waits_for else "RUNNING", waits_for=waits_for)
            self._write()

    @property
    def has_ended(self) -> bool:
        """Whether it was told how the job has ended."""
        return self._over.is_set()

    def end(self, status: str, message: str = "", exit_code: int | None = None) -> None:
        """Writes how the job has ended, and the rest of its log."""
        if self.job:
            ended = replace(self.job, status=status, message=message, exit_code=exit_code, ended_s=time.time())
            self.job = replace(ended, waits_for="")
        self._over.set()
        if self._keeper.is_alive():
            self._keeper.join()
        self._log_due_s = 0.0
        self._write()

    def _keep(self) -> None:
        while not self._over.wait(SEEN_EVERY_S):
            self._write()
            if self._other:
                say(Failure(_taken(self._other)))
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def _write(self) -> None:
        with self._writing, suppress(StorageError):
            if self.job is None or self._other:
                return
            folder = self._folder = self._folder or open_storage(self.job.run_url)
            self._other = hold_run(folder, self.job, self._is_held)
            if self._other:
                return
            self._is_held = True
            size_bytes = self._log.stat().st_size if self._log else 0
            if self._log and size_bytes != self._logged_bytes and time.monotonic() > self._log_due_s:
                folder.put(log_key(self.job.id), self._log.read_bytes())
                self._logged_bytes = size_bytes
                self._log_due_s = time.monotonic() + size_bytes / 1e6 * _SECONDS_PER_MB


def _taken(other: Job) -> str:
    return (
        f"{other.run_url}: job {other.id} is at this run, perhaps on another cluster: give the new one another name, "
        "or end that one (scenerec stop)"
    )


def _log_file() -> Path | None:
    """Where this process's output goes, if that is a file, as it is for a job of Ray's."""
    with suppress(OSError, ValueError):
        if stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode):
            return Path(f"/proc/self/fd/{sys.stdout.fileno()}").resolve()
    return None
