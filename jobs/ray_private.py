"""What the jobs use of Ray that is not of its public interface: what to look at first when Ray is upgraded.

`jobs.light_trainer` also overrides a method of Ray's trainer that is not public; `jobs.nodes` reads why a node ended.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import ray
from ray._common.network_utils import build_address
from ray._private.state import state as cluster_state
from ray._raylet import PlacementGroupID
from ray.core.generated.gcs_pb2 import PlacementGroupTableData
from ray.exceptions import RayActorError, RayTaskError
from ray.train import ScalingConfig
from ray.train._internal.utils import get_address_and_port
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError, WorkerHealthCheckFailedError
from ray.train.v2._internal.execution.callback import ControllerCallback, WorkerGroupCallback
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.controller.state import (
    ReschedulingState,
    RestartingState,
    RunningState,
    TrainControllerState,
)
from ray.train.v2._internal.execution.scaling_policy import ElasticScalingPolicy, autoscaling_coordinator_client
from ray.train.v2._internal.execution.worker_group import WorkerGroup, poll, state, worker_group
from ray.train.v2.api.result import Result
from ray.util.placement_group import PlacementGroup
from typing_extensions import override

from scenerec.errors import first_line

if TYPE_CHECKING:
    from ray.tune.schedulers import MedianStoppingRule  # takes a second to import, and trainings need no Tune

__all__ = [
    "FAILED_AS_IT_STARTED",
    "DatasetsCallback",
    "ElasticWorkers",
    "FailedStarts",
    "PlacementGroupCleanerCallback",
    "RoomSought",
    "StartsUndone",
    "WorkerGroupCallback",
    "cancel_reservation",
    "free_address",
    "free_address_and_port",
    "free_resources",
    "is_actor_dead",
    "is_node_draining",
    "lost_worker",
    "own_actor",
    "placement_groups",
    "recall_results",
    "train_from_here",
    "was_preempted",
]

NO_ACTOR = "ff" * 16
"""The id of an actor, in hex, for what is none: a driver."""

FAILED_AS_IT_STARTED = "a worker failed as it started: "
"""What `FailedStarts` tells of a worker that has met an error begins with it."""

_RESERVATION_S = 60.0


def train_from_here(**settings: Any) -> Result:
    """Trains with Ray's controller in this process, which waits for its end anyway; in Ray it is an actor's.

    So a training starts without two processes more that import Ray Train: the controller's, and the one in which Ray's
    `report` lets ranks wait for each other, which ours do in their own framework. What a training has reserved lapses
    soon after it was killed; it renews that every 20 s. With Ray's own three minutes an elastic job that comes after a
    killed one, such as the same run resumed, waits so long for processors that are free.

    Args:
        settings: of Ray's controller.
    """
    autoscaling_coordinator_client.AUTOSCALING_REQUESTS_EXPIRE_TIME_S = _RESERVATION_S
    worker_group.SynchronizationActor = _NoMeeting
    state._shutdown_sync_actor = lambda meeting: None
    controller = _Controller(**settings)
    asyncio.run(controller.run())
    return controller.get_result()


class _NoMeeting:
    """Takes the place of the actor in which ranks meet: nobody calls `ray.train.report`."""

    @classmethod
    def options(cls, **options: Any) -> type[Self]:
        return cls

    @classmethod
    def remote(cls, **arguments: Any) -> Self:
        return cls()


class _Workers(WorkerGroup):
    """Ray's group of workers, whose controller may be no actor."""

    @override
    def _start(self) -> None:
        """As Ray's own, which ends the training where a worker says that another is gone before Ray knows of it.

        Here they start anew, as where Ray is the first to know; so they do where a port was taken meanwhile.
        """
        try:
            super()._start()
        except RayActorError as error:
            raise WorkerGroupStartupFailedError(str(error)) from error
        except RayTaskError as error:
            if not isinstance(error.cause, OSError | RuntimeError):
                raise
            raise WorkerGroupStartupFailedError(f"{FAILED_AS_IT_STARTED}{first_line(error.cause)}") from error

    @override
    def _init_train_context_on_workers(  # type: ignore[no-untyped-def]
        self, workers, sync_actor, train_context_args
    ) -> None:
        """As Ray's own, but for the controller's handle, by which workers would ask for checkpoints of Ray's."""
        ray.get(
            [
                worker.actor.init_train_context.remote(
                    train_run_context=self._train_run_context,
                    distributed_context=worker.distributed_context,
                    synchronization_actor=sync_actor,
                    storage_context=self._storage_context,
                    worker_callbacks=self._worker_callbacks_to_propagate,
                    controller_actor=None,
                    **{name: values[rank] for name, values in train_context_args.items()},
                )
                for rank, worker in enumerate(workers)
            ]
        )
        self._decorate_worker_log_file_paths(workers)


class _Controller(TrainController):
    worker_group_cls = _Workers


class ElasticWorkers(ElasticScalingPolicy):
    """Ray's policy of an elastic training, which starts as many workers as there is room for; here, one of `counts`."""

    def __init__(self, scaling_config: ScalingConfig, counts: Sequence[int]) -> None:
        super().__init__(scaling_config)
        self._counts = counts

    @override
    def _count_possible_workers(self, reserved_resources: Mapping[str, Mapping[str, float]]) -> int:
        """With fewer than Ray's least number the training waits, or goes on as it is."""
        room = super()._count_possible_workers(reserved_resources)
        return max((count for count in self._counts if count <= room), default=0)


@dataclass
class RoomSought(ControllerCallback):
    """Tells that a training looks for room for its workers again: they were lost, or found none for half a minute.

    Ray's controller asks for room without a pause while an elastic training waits for its least number of workers; here
    it takes one.
    """

    tell: Callable[[], None]
    pause_s: float = 0.5

    def after_controller_state_update(
        self, previous_state: TrainControllerState, current_state: TrainControllerState
    ) -> None:
        """Ray calls it in the controller."""
        if current_state is previous_state:  # never while workers run: that state is made anew each time
            time.sleep(self.pause_s)
        elif isinstance(current_state, RestartingState | ReschedulingState):
            self.tell()


@dataclass
class StartsUndone(ControllerCallback):
    """Gives back the places of workers of which one was lost while they started.

    Ray's controller forgets such a group where its actors were made already (`WorkerGroup._start`), and then waits for
    ever for places that it has itself.
    """

    give_back: Callable[[], None]

    def after_controller_state_update(
        self, previous_state: TrainControllerState, current_state: TrainControllerState
    ) -> None:
        """Ray calls it in the controller."""
        if isinstance(current_state, ReschedulingState):
            self.give_back()


@dataclass
class FailedStarts(ControllerCallback):
    """Tells of every start of workers in which one of them ended or failed, and how many there were in a row.

    Ray's controller tries again for ever. What `tell` raises ends the training.
    """

    tell: Callable[[int, str], None]
    """Called with the number, and with what Ray says of it."""
    in_a_row: int = 0

    def after_controller_state_update(
        self, previous_state: TrainControllerState, current_state: TrainControllerState
    ) -> None:
        """Ray calls it in the controller."""
        if isinstance(current_state, RunningState):
            self.in_a_row = 0
        elif isinstance(current_state, ReschedulingState):
            failure = getattr(current_state.training_failed_error, "controller_failure", None)
            if isinstance(failure, WorkerGroupStartupFailedError):
                self.in_a_row += 1
                self.tell(self.in_a_row, str(failure))


def cancel_reservation(training: str) -> None:
    """Gives back what a training (its id of Ray Train's) has reserved, whose controller is killed and so will not.

    Ray's client waits up to 5 s for the coordinator, and where that does not answer, leaves it to lapse.
    """
    autoscaling_coordinator_client.TrainAutoscalingCoordinatorClient(f"train-{training}").cancel_resource_request()


def placement_groups(job_id: str) -> Iterator[tuple[PlacementGroup, str]]:
    """The placement groups of a Ray job (its id in hex) that end with whoever has made them.

    Each comes with its maker, the id of an actor in hex or NO_ACTOR: Ray's public tables do not name it, the one of its
    head does.
    """
    for content in cluster_state._connect_and_get_accessor().get_placement_group_table():
        group = PlacementGroupTableData.FromString(content)
        if group.state == PlacementGroupTableData.PlacementGroupState.REMOVED or group.is_detached:
            continue
        if group.creator_job_id.hex() == job_id:
            yield PlacementGroup(PlacementGroupID(group.placement_group_id)), group.creator_actor_id.hex()


def own_actor() -> str:
    """The id in hex of the actor that calls it, NO_ACTOR where a driver does."""
    return ray.get_runtime_context().worker.actor_id.hex()


def is_actor_dead(actor_id: str) -> bool:
    """Whether an actor (its id in hex) has ended; a driver has not, while its job runs."""
    return actor_id != NO_ACTOR and cluster_state.actor_table(actor_id).get("State") == "DEAD"


def free_resources() -> list[Mapping[str, float]]:
    """What nobody has of each node that is alive, by the resource's name; Ray's public interface has only the sums."""
    return list(cluster_state.available_resources_per_node().values())


def is_node_draining() -> bool:
    """Whether the node of this worker is being drained, as by `ray drain-node` before a spot machine is taken away."""
    return ray.get_runtime_context().get_node_id() in cluster_state.get_draining_nodes()


def lost_worker(error: Exception) -> bool:
    """Whether what Ray's controller tells of a worker is that it does not answer any more."""
    return isinstance(error, WorkerHealthCheckFailedError | RayActorError)


def was_preempted(error: Exception) -> bool:
    """Whether what Ray's controller tells of a worker is that it was lost with a node that was drained for that end.

    Such a loss is none of the failures of which a training may have so many.
    """
    return poll._is_preempted_actor(error)


def free_address_and_port() -> tuple[str, int]:
    """Address of this process's node, and a port that is free there now."""
    address, port = get_address_and_port()
    return address, port


def free_address() -> str:
    """Address and free port of this process's node as `host:port`, with brackets round an IPv6 address."""
    return build_address(*free_address_and_port())


def recall_results(scheduler: "MedianStoppingRule", trial: str, results: list[dict[str, float]]) -> None:
    """Lets the median rule compare with what a trial of an earlier session has reported."""
    scheduler._results[trial] = results
