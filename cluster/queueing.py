"""The queue of a cluster's trainings and searches: whose turn it is, as a pure function of the list of jobs.

Ray's Jobs API starts every job at once. So each job's own process waits for its turn before it asks for anything but
itself: it reads the list of jobs, of which all see the same, and decides by `decide`. No lock is needed: a job claims
its turn where all see it, reads the list anew, and goes only if the limits hold with all claims that it then sees. Of
several that claim at once the last to write sees all others, so never do more go than may; those that are not first in
the order take their claims back.
"""

import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from cluster.job import Job, Turn
from scenerec.errors import ClusterError
from scenerec.names import few

MAX_JOBS = "SCENEREC_MAX_JOBS"
"""Variable of the head node: how many trainings and searches may run at once; unset or empty, any number."""

MAX_JOBS_PER_OWNER = "SCENEREC_MAX_JOBS_PER_OWNER"
"""Variable of the head node: how many of these may be one owner's."""


@dataclass(frozen=True)
class QueueRequest:
    """What a submission says of its place in the queue. Everyone who sees the dashboard can read it."""

    owner: str = ""
    """Who has submitted the job."""
    priority: int = 0
    """Jobs of a higher number go first; among equals, those that were submitted first."""
    after: tuple[str, ...] = ()
    """Ids of jobs that have to succeed first."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Names and values by which people find their jobs."""

    def metadata(self) -> dict[str, str]:
        """Returns it as metadata of the Jobs API; `Job.parse` reads it."""
        return {
            "owner": self.owner,
            "priority": str(self.priority),
            "after": " ".join(self.after),
            "labels": json.dumps(self.labels),
            "turn": Turn.WAITING,
        }


@dataclass(frozen=True)
class Limits:
    """How many jobs may run at once; None: any number."""

    max_jobs: int | None = None
    """Of all owners together."""
    max_jobs_per_owner: int | None = None
    """Of one owner."""

    @classmethod
    def of_environment(cls, variables: Mapping[str, str] = os.environ) -> "Limits":
        """Reads the limits of the node that this process runs on. Raises ClusterError for what is no number."""
        return cls(_number(variables, MAX_JOBS), _number(variables, MAX_JOBS_PER_OWNER))

    @property
    def are_none(self) -> bool:
        """Whether any number may run."""
        return self.max_jobs is None and self.max_jobs_per_owner is None

    def allow(self, job: Job, running: Collection[Job]) -> bool:
        """Whether the job may run beside these."""
        return (self.max_jobs is None or len(running) < self.max_jobs) and self.allow_owner(job, running)

    def allow_owner(self, job: Job, running: Collection[Job]) -> bool:
        """Whether the job's owner may have one more beside these."""
        most = self.max_jobs_per_owner
        return most is None or sum(each.owner == job.owner for each in running) < most


class Act(Enum):
    """What a waiting job does next."""

    WAIT = auto()
    CLAIM = auto()
    """It says that it means to run, and looks again at once."""
    WITHDRAW = auto()
    """It takes that back."""
    GO = auto()


@dataclass(frozen=True)
class Decision:
    """What a waiting job does next, and why."""

    act: Act
    reason: str = ""
    """What it waits for, in words; empty where it has claimed or need not wait."""


def decide(jobs: Iterable[Job], job_id: str, limits: Limits) -> Decision:
    """Decides what a waiting job does, by what it sees.

    Args:
        jobs: all of the cluster, in any order; those without a turn do not count.
        job_id: of the job that decides, which is among them and waits or has claimed.
        limits: those of the cluster.

    Raises ClusterError where a job has ended otherwise, or is gone, that should have succeeded first.
    """
    known = {job.id: job for job in jobs}
    if (me := known.get(job_id)) is None:
        raise ClusterError(f"{job_id}: the cluster does not know this job any more: submit it again")
    queue = sorted((job for job in known.values() if job.turn and not job.ended), key=_order)
    given, claimed, waiting = (
        [job for job in queue if job.turn == turn] for turn in (Turn.GIVEN, Turn.CLAIMED, Turn.WAITING)
    )
    if me.turn == Turn.CLAIMED:
        if limits.allow(me, [job for job in (*given, *claimed) if job is not me]):
            return Decision(Act.GO)
        is_first = me in _admitted(claimed, given, limits)  # then the others take theirs back
        return Decision(Act.WAIT if is_first else Act.WITHDRAW)
    if missing := _awaited(me, known):
        return Decision(Act.WAIT, f"{few(missing)} to succeed")
    ready = [job for job in waiting if not _is_held_up(job, known)]
    if me in _admitted(ready, [*given, *claimed], limits):
        return Decision(Act.CLAIM)
    return Decision(Act.WAIT, _turn_words(me, ready, [*given, *claimed], limits))


def _order(job: Job) -> tuple[int, float, str]:
    """The order in which jobs go: total, and the same for everyone."""
    return (-job.priority, job.started_s, job.id)


def _admitted(candidates: Sequence[Job], running: Sequence[Job], limits: Limits) -> list[Job]:
    """Those who may go, in their order, beside what runs; who may not for its owner's sake holds up nobody else."""
    admitted: list[Job] = []
    for job in candidates:
        if limits.allow(job, [*running, *admitted]):
            admitted.append(job)
    return admitted


def _awaited(job: Job, known: Mapping[str, Job]) -> list[str]:
    """Ids of the jobs that have not ended yet and that the job goes after."""
    for each in job.after:
        before = known.get(each)
        if before is None:
            raise ClusterError(f"--after {each}: the cluster does not know this job any more: submit again without it")
        if before.ended and before.status != "SUCCEEDED":
            raise ClusterError(
                f"--after {each}: it has not succeeded ({before.status}), so this job does not begin: mend and submit "
                "that one, then this one"
            )
    return [each for each in job.after if not known[each].ended]


def _is_held_up(job: Job, known: Mapping[str, Job]) -> bool:
    return any(each not in known or known[each].status != "SUCCEEDED" for each in job.after)


def _turn_words(me: Job, ready: Sequence[Job], running: Sequence[Job], limits: Limits) -> str:
    if not limits.allow_owner(me, running):
        return f"its turn: {me.owner} has {limits.max_jobs_per_owner} running, the most that one owner may have"
    return (
        f"its turn: place {ready.index(me) + 1} of {len(ready)}; {len(running)} of at most {limits.max_jobs} run "
        f"({few([job.id for job in running])})"
    )


def _number(variables: Mapping[str, str], name: str) -> int | None:
    text = variables.get(name)
    if not text:
        return None
    if not text.isdecimal() or not int(text):
        raise ClusterError(f"{name}={text} on the head node: must be a whole number of at least 1")
    return int(text)
