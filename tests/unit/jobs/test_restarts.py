"""What a job says of workers that start again."""

from typing import Any

import pytest
from ray.core.generated.common_pb2 import ActorDiedErrorContext, NodeDeathInfo
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError
from ray.train import ControllerError, FailureConfig, WorkerGroupError
from ray.train.v2._internal.exceptions import (
    WorkerGroupStartupFailedError,
    WorkerGroupStartupTimeoutError,
    WorkerHealthCheckFailedError,
)
from ray.train.v2._internal.execution.controller.state import (
    ReschedulingState,
    RestartingState,
    RunningState,
    SchedulingState,
)
from ray.train.v2._internal.execution.failure_handling import FailureDecision, create_failure_policy
from ray.train.v2._internal.execution.scaling_policy import ResizeDecision
from ray.train.v2._internal.execution.worker_group.worker import ActorMetadata

from jobs.ray_private import FailedStarts, RoomSought, _Workers
from jobs.restarts import Restarts, end_after_failed_starts, reason
from scenerec.errors import ScenerecError, StorageError
from scenerec.job_log import Event, Note, Restart


def lost(address: str, end_of_node: NodeDeathInfo | None = None) -> WorkerHealthCheckFailedError:
    """What Ray's controller meets in place of an answer."""
    context = ActorDiedErrorContext(
        actor_id=bytes(16),
        pid=7,
        node_ip_address=address,
        error_message="The process died",
        node_death_info=end_of_node,
    )
    return WorkerHealthCheckFailedError("A worker health check failed.", ActorDiedError(context))


def silent(address: str) -> Exception:
    """The same of a worker whose connection is gone, and of which nobody has said yet that it is dead."""
    metadata = ActorMetadata(hostname="node1", node_id="13cace", node_ip=address, pid=7, accelerator_ids={})
    gone = ActorUnavailableError("RpcError: recvmsg: Connection reset by peer", bytes(16))
    return WorkerHealthCheckFailedError(f"A worker health check failed.\nWorker info: {metadata}", gone)


@pytest.mark.parametrize(
    ("met", "words"),
    [
        ({1: silent("10.0.0.12")}, "worker 1 on 10.0.0.12 was lost"),
        ({1: lost("10.0.0.12")}, "worker 1 on 10.0.0.12 was lost"),
        ({2: lost("fd00::7"), 0: RuntimeError("Connection closed by peer")}, "worker 2 on fd00::7 was lost"),
        ({3: lost("10.0.0.3"), 2: lost("10.0.0.3")}, "workers 2, 3 on 10.0.0.3 were lost"),
        (
            {
                0: RuntimeError(
                    "[/pytorch/gloo/transport/tcp/pair.cc:561] Connection closed by peer [10.0.0.12]:9356. This"
                )
            },
            "worker 0 lost its connection to 10.0.0.12",
        ),
        ({1: StorageError("s3://a: cannot reach"), 2: ValueError("b")}, "worker 1 failed: s3://a: cannot reach"),
    ],
)
def test_the_reason_is_what_came_first(met: dict[int, Exception], words: str) -> None:
    assert reason(met) == words


def test_each_restart_is_told_and_the_end_is_not() -> None:
    told: list[Event] = []
    restarts: Any = Restarts(told.append, 2)
    for _ in range(3):
        restarts.after_exception(None, {0: ValueError("gone")})
    assert told == [Restart(number, 2, "worker 0 failed: gone") for number in (1, 2)]


def test_announced_ends_of_machines_are_told_and_use_up_no_restart() -> None:
    told: list[Event] = []
    restarts: Any = Restarts(told.append, 1)
    preempted = lost("10.0.0.12", NodeDeathInfo(reason=NodeDeathInfo.Reason.AUTOSCALER_DRAIN_PREEMPTED))
    failed = ValueError("gone")
    for met in ({1: preempted}, {0: failed, 1: preempted}, {0: failed}, {1: preempted}, {0: failed}):
        restarts.after_exception(None, met)
    note = Note("worker 1 on 10.0.0.12 was lost with a machine whose end was announced: all workers start again")
    assert told == [note, note, Restart(1, 1, "worker 0 failed: gone"), note]


def test_each_search_for_room_is_told_once() -> None:
    told: list[str] = []
    sought = RoomSought(lambda: told.append("waiting"), pause_s=0)
    running, lost = RunningState(), RestartingState(training_failed_error=WorkerGroupError("lost", {}))
    for before, after in ((running, lost), (lost, lost), (lost, lost), (lost, running), (running, running)):
        sought.after_controller_state_update(before, after)
    assert told == ["waiting"]


def test_workers_that_cannot_be_started_end_the_job_at_the_fifth_time_in_a_row() -> None:
    scheduling, running = SchedulingState(ResizeDecision(2, {"CPU": 1})), RunningState()
    full = ControllerError(WorkerGroupStartupFailedError("The actor died.\n\tpid: 7\n\tip: 10.0.0.12\nThe actor is"))
    no_room = ControllerError(WorkerGroupStartupTimeoutError(2))
    starts = FailedStarts(end_after_failed_starts)
    for error in (full, full, full, full, no_room):
        starts.after_controller_state_update(scheduling, ReschedulingState(error))
    starts.after_controller_state_update(scheduling, running)
    for _ in range(4):
        starts.after_controller_state_update(scheduling, ReschedulingState(full))
    with pytest.raises(ScenerecError, match=r"^5 times in a row one ended on node 10\.0\.0\.12 as it started: "):
        starts.after_controller_state_update(scheduling, ReschedulingState(full))


class FailingWorkers(_Workers):
    """Workers of which one fails as Ray starts them."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self._worker_group_state = None

    def _start_impl(self, worker_group_state_builder: Any) -> None:
        raise self._error


def raised_by_worker(error: Exception) -> Exception:
    """As `ray.get` raises it."""
    return RayTaskError("_join_process_group", f"Traceback\n{error!r}", error).as_instanceof_cause()


CLOSED = RuntimeError("[/pytorch/gloo/transport/tcp/pair.cc:561] Connection closed by peer [10.0.0.12]:9356")


@pytest.mark.parametrize(
    ("error", "decision"),
    [
        (lost("10.0.0.12").health_check_failure, FailureDecision.RETRY),
        (raised_by_worker(CLOSED), FailureDecision.RETRY),
        (raised_by_worker(OSError(98, "Address already in use")), FailureDecision.RETRY),
        (raised_by_worker(ModuleNotFoundError("No module named 'torch'")), FailureDecision.RAISE),
    ],
)
def test_workers_that_fail_as_they_start_start_anew_where_that_may_help(
    error: Exception, decision: FailureDecision
) -> None:
    with pytest.raises(Exception) as raised:
        FailingWorkers(error)._start()
    assert create_failure_policy(FailureConfig(max_failures=0)).make_decision(ControllerError(raised.value)) == decision


def test_workers_that_cannot_join_each_other_end_the_job_with_what_they_met() -> None:
    with pytest.raises(WorkerGroupStartupFailedError) as raised:
        FailingWorkers(raised_by_worker(CLOSED))._start()
    end_after_failed_starts(4, str(raised.value))
    with pytest.raises(ScenerecError, match=r"^5 times in a row one failed as it started: .*\[10\.0\.0\.12\]:9356: `"):
        end_after_failed_starts(5, str(raised.value))
