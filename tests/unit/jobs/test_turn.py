"""Waiting for a turn: real threads at one table, what is told meanwhile, and a head that does not answer."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from cluster.job import Job, Turn
from cluster.queueing import Limits
from jobs import turn
from jobs.turn import wait_in
from scenerec.errors import ClusterError

LOOK_EVERY_S = 0.005


class Table:
    """A table of jobs in memory; the first `failures` requests are not answered."""

    def __init__(self, *jobs: Job, failures: int = 0) -> None:
        self._jobs = {job.id: job for job in jobs}
        self._failures = failures

    def jobs(self) -> list[Job]:
        if self._failures:
            self._failures -= 1
            raise OSError("no answer")
        return list(self._jobs.values())

    def note(self, job_id: str, turn: Turn, waits_for: str) -> None:
        self._jobs[job_id] = replace(self._jobs[job_id], turn=turn, waits_for=waits_for)

    def end(self, job_id: str) -> None:
        self._jobs[job_id] = replace(self._jobs[job_id], status="SUCCEEDED")


def job(name: str, started_s: float = 0, priority: int = 0) -> Job:
    known = Job(name, name, "-", "train", "torch", "RUNNING", "", None, started_s, None)
    return replace(known, turn=Turn.WAITING, priority=priority)


def test_jobs_that_wait_at_once_run_two_at_a_time() -> None:
    names = [f"j{number}" for number in range(8)]
    table, runs, most = Table(*map(job, names)), set[str](), [0]
    lock = threading.Lock()

    def live(name: str) -> None:
        wait_in(table, name, Limits(max_jobs=2), lambda words: None, LOOK_EVERY_S)
        with lock:
            runs.add(name)
            most[0] = max(most[0], len(runs))
        time.sleep(0.02)
        with lock:
            runs.remove(name)
        table.end(name)

    with ThreadPoolExecutor(len(names)) as threads:
        list(threads.map(live, names))
    assert most[0] <= 2


def test_what_is_waited_for_is_told_once_and_then_that_it_begins(capsys: pytest.CaptureFixture[str]) -> None:
    """The first job ends once it was told that the second waits for it."""
    table, told = Table(job("first"), job("second", 1)), list[str]()

    def tell(words: str) -> None:
        told.append(words)
        table.end("first")

    wait_in(table, "first", Limits(max_jobs=1), told.append, LOOK_EVERY_S)
    assert told == []
    wait_in(table, "second", Limits(max_jobs=1), tell, LOOK_EVERY_S)
    words = "its turn: place 1 of 1; 1 of at most 1 run (first)"
    assert told == [words, ""]
    assert capsys.readouterr().out == f"[waiting] {words}\n"
    (second,) = [each for each in table.jobs() if each.id == "second"]
    assert (second.turn, second.waits_for) == (Turn.GIVEN, "")


def test_a_head_that_does_not_answer_is_waited_for_and_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    wait_in(Table(job("a"), failures=3), "a", Limits(), lambda words: None, LOOK_EVERY_S)
    monkeypatch.setattr(turn, "_PATIENCE_S", 0.05)
    with pytest.raises(ClusterError, match="the cluster's list of jobs cannot be read: no answer"):
        wait_in(Table(job("a"), failures=10**6), "a", Limits(), lambda words: None, LOOK_EVERY_S)


def test_a_job_that_its_cluster_has_forgotten_ends() -> None:
    with pytest.raises(ClusterError, match="b: the cluster does not know this job any more"):
        wait_in(Table(job("a")), "b", Limits(), lambda words: None, LOOK_EVERY_S)
