"""What a training says when its workers start again: which of them was lost, or what it met."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from ray.train import UserCallback
from typing_extensions import override

from cluster.gauges import LastingGauges
from jobs.ray_private import FAILED_AS_IT_STARTED, lost_worker, was_preempted
from jobs.run_gauges import RESTARTS, RUN_GAUGES
from scenerec.errors import ScenerecError, first_line
from scenerec.job_log import Event, Note, Restart

_PEER = re.compile(r"/gloo/.*\[([0-9A-Fa-f.:]+)\]:\d+")
_ADDRESS = re.compile(r"\b(?:ip: |node_ip=')([0-9A-Fa-f.:]+[0-9A-Fa-f])")  # of a dead actor; of the worker itself
_MOST_FAILED_STARTS = 5


class Restarts(UserCallback):
    """Tells of every restart of the workers. Copies travel to them, with Ray's config of the run, and do nothing there.

    Args:
        say: tells the job's log.
        max_restarts: how many restarts the job may have, beside those after an announced end of a machine.
        labels: of the run's gauges for Prometheus; None where it has none.
    """

    def __init__(
        self, say: Callable[[Event], None], max_restarts: int, labels: Mapping[str, str] | None = None
    ) -> None:
        self._say = say
        self._max_restarts = max_restarts
        self._labels = labels
        self._restarts = self._preemptions = 0
        self._gauges: LastingGauges | None = None  # made when there is something to tell: threads do not travel

    def __reduce__(self) -> tuple[Any, ...]:
        return Restarts, (self._say, self._max_restarts, self._labels)

    @override
    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        met = reason(worker_exceptions)
        if any(map(was_preempted, worker_exceptions.values())):
            self._preemptions += 1
            self._say(Note(f"{met} with a machine whose end was announced: all workers start again"))
        elif self._restarts < self._max_restarts:
            self._restarts += 1
            self._say(Restart(self._restarts, self._max_restarts, met))
        else:
            return  # the job ends, and says why itself
        if self._labels is not None:
            self._gauges = self._gauges or LastingGauges(RUN_GAUGES, self._labels)
            self._gauges.set(RESTARTS, float(self._restarts + self._preemptions))


def reason(worker_exceptions: Mapping[int, Exception]) -> str:
    """What the workers met, in one line: `worker 1 on 10.0.0.12 was lost`.

    Where some were lost, the others' errors only follow from that.

    Args:
        worker_exceptions: what each worker met, by its rank.
    """
    lost = {rank: str(error) for rank, error in worker_exceptions.items() if lost_worker(error)}
    if not lost:
        rank = min(worker_exceptions)
        told = first_line(worker_exceptions[rank])
        peer = _PEER.search(told)  # Gloo's message: it meets the loss before Ray does
        return f"worker {rank} lost its connection to {peer[1]}" if peer else f"worker {rank} failed: {told}"
    ranks = ", ".join(map(str, sorted(lost)))
    hosts = sorted({found[1] for message in lost.values() if (found := _ADDRESS.search(message))})
    place = f" on {', '.join(hosts)}" if hosts else ""
    return f"worker{'s' * (len(lost) > 1)} {ranks}{place} {'were' if len(lost) > 1 else 'was'} lost"


def end_after_failed_starts(in_a_row: int, told: str) -> None:
    """Raises ScenerecError, which ends the job, where workers could not be started several times in a row.

    A node whose disk is full still offers its processors, and every worker that Ray starts there ends.

    Args:
        in_a_row: starts in which a worker ended or failed.
        told: what Ray says of the newest.
    """
    if in_a_row >= _MOST_FAILED_STARTS:
        _, has_failed, met = told.partition(FAILED_AS_IT_STARTED)
        if has_failed:
            raise ScenerecError(
                f"{in_a_row} times in a row one failed as it started: {met}: "
                "`scenerec cluster doctor --all-reduce` tells whether the nodes reach each other"
            )
        hosts = sorted(set(_ADDRESS.findall(told)))
        node = f" on node {', '.join(hosts)}" if hosts else ""
        raise ScenerecError(
            f"{in_a_row} times in a row one ended{node} as it started: "
            "make room on the disk and in the memory there, or take the node away"
        )
