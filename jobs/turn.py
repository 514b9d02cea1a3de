"""Waiting for a job's turn on a cluster that several people use: in the job's own process, which holds no CPU."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from cluster.job import Job, Turn
from cluster.queueing import Act, Limits, decide
from jobs.log import say
from scenerec.errors import ClusterError
from scenerec.job_log import Waiting

_LOOK_EVERY_S = 2.0
_LOOK_EVERY_S_PER_JOB = 0.01  # so that a thousand jobs do not keep the head of the cluster busy with each other
_PATIENCE_S = 120.0  # with a head that does not answer


class JobTable(Protocol):
    """The jobs of a cluster as all of them see them."""

    def jobs(self) -> Sequence[Job]:
        """All that scenerec submitted. Raises OSError where the cluster does not answer."""

    def note(self, job_id: str, turn: Turn, waits_for: str) -> None:
        """Notes where a job is in the queue. Raises OSError where the cluster does not answer."""


def await_turn(job: Job, tell: Callable[[str], None]) -> None:
    """Returns when the job may begin: after those that it names, and within the limits of the cluster.

    Args:
        job: this process's.
        tell: is told what the job waits for when that changes; an empty text when it begins.

    Raises ClusterError where a job that should succeed first does not, or the cluster does not answer.
    """
    limits = Limits.of_environment()
    if limits.are_none and not job.after:
        return
    from jobs.ray_job_table import RayJobTable  # imports Ray

    wait_in(RayJobTable(os.environ["RAY_ADDRESS"]), job.id, limits, tell)


def wait_in(
    table: JobTable, job_id: str, limits: Limits, tell: Callable[[str], None], look_every_s: float = _LOOK_EVERY_S
) -> None:
    """Waits for a job's turn by what a table of jobs says, as `await_turn` does."""
    turn, told, answered_s = Turn.WAITING, "", time.monotonic()
    while turn is not Turn.GIVEN:
        try:
            jobs = table.jobs()
            decision = decide(jobs, job_id, limits)
            wanted = _TURNS.get(decision.act, turn)
            waits_for = "" if wanted is Turn.GIVEN else decision.reason or told
            if (wanted, waits_for) != (turn, told):
                table.note(job_id, wanted, waits_for)
        except OSError as error:
            if time.monotonic() - answered_s > _PATIENCE_S:
                raise ClusterError(f"the cluster's list of jobs cannot be read: {error}") from None
            time.sleep(look_every_s)
            continue
        if waits_for != told:
            tell(waits_for)
            if waits_for:
                say(Waiting(waits_for))
        turn, told, answered_s = wanted, waits_for, time.monotonic()
        if decision.act in (Act.WAIT, Act.WITHDRAW):
            time.sleep(look_every_s + _LOOK_EVERY_S_PER_JOB * len(jobs))


_TURNS = {Act.CLAIM: Turn.CLAIMED, Act.WITHDRAW: Turn.WAITING, Act.GO: Turn.GIVEN}
"""Where a job is after what it does; it stays where it is while it waits."""
