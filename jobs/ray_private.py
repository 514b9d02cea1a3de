"""What the jobs use of Ray that is not of its public interface: what to look at first when Ray is upgraded.

`jobs.light_trainer` also overrides a method of Ray's trainer that is not public; `jobs.nodes` reads why a node ended.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ray
from ray._common.network_utils import build_address
from ray._private.state import state as cluster_state
from ray._raylet import PlacementGroupID
from ray.core.generated.gcs_pb2 import PlacementGroupTableData
from ray.exceptions import RayActorError
from ray.train._internal.utils import get_address_and_port
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError, WorkerHealthCheckFailedError
from ray.train.v2._internal.execution.callback import ControllerCallback, WorkerGroupCallback
from ray.train.v2._internal.execution.controller.state import (
    ReschedulingState,
    RestartingState,
    RunningState,
    TrainControllerState,
)
from ray.train.v2._internal.execution.scaling_policy import autoscaling_coordinator_client
from ray.util.placement_group import PlacementGroup

if TYPE_CHECKING:
    from ray.tune.schedulers import MedianStoppingRule  # takes a second to import, and trainings need no Tune

__all__ = [
    "BriefReservations",
    "DatasetsCallback",
    "FailedStarts",
    "PlacementGroupCleanerCallback",
    "RoomSought",
    "StartsUndone",
    "WorkerGroupCallback",
    "actors_placement_groups",
    "cancel_reservation",
    "free_address",
    "free_address_and_port",
    "is_actor_dead",
    "is_node_draining",
    "lost_worker",
    "recall_results",
]

_NO_ACTOR = 0xFF  # all bytes of the id, where a driver has made the placement group


@dataclass
class BriefReservations(ControllerCallback):
    """Lets what a training has reserved lapse soon after it was killed; it renews the reservation every 20 s.

    With Ray's own three minutes an elastic job that comes after a killed one, such as the same run resumed, waits so
    long for processors that are free.
    """

    expire_s: float
    """How long a reservation holds that is not renewed, in seconds."""

    def __setstate__(self, state: dict[str, float]) -> None:
        """Unpickled in the controller's process, before that reserves anything."""
        self.__dict__.update(state)
        autoscaling_coordinator_client.AUTOSCALING_REQUESTS_EXPIRE_TIME_S = self.expire_s


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
        """Ray calls it in the controller's process."""
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
        """Ray calls it in the controller's process."""
        if isinstance(current_state, ReschedulingState):
            self.give_back()


@dataclass
class FailedStarts(ControllerCallback):
    """Tells of every start of workers in which one of them ended, and how many such starts there were in a row.

    Ray's controller tries again for ever. What `tell` raises ends the training.
    """

    tell: Callable[[int, str], None]
    """Called with the number, and with what Ray says of it."""
    in_a_row: int = 0

    def after_controller_state_update(
        self, previous_state: TrainControllerState, current_state: TrainControllerState
    ) -> None:
        """Ray calls it in the controller's process."""
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


def actors_placement_groups(job_id: str) -> Iterator[tuple[PlacementGroup, str]]:
    """The placement groups of a Ray job (its id in hex) that actors have made and that end with them.

    Each comes with its actor's id in hex: Ray's public tables do not name it, the one of its head does.
    """
    for content in cluster_state._connect_and_get_accessor().get_placement_group_table():
        group = PlacementGroupTableData.FromString(content)
        if group.state == PlacementGroupTableData.PlacementGroupState.REMOVED or group.is_detached:
            continue
        if group.creator_job_id.hex() == job_id and set(group.creator_actor_id) != {_NO_ACTOR}:
            yield PlacementGroup(PlacementGroupID(group.placement_group_id)), group.creator_actor_id.hex()


def is_actor_dead(actor_id: str) -> bool:
    """Whether an actor (its id in hex) has ended."""
    return cluster_state.actor_table(actor_id).get("State") == "DEAD"


def is_node_draining() -> bool:
    """Whether the node of this worker is being drained, as by `ray drain-node` before a spot machine is taken away."""
    return ray.get_runtime_context().get_node_id() in cluster_state.get_draining_nodes()


def lost_worker(error: Exception) -> bool:
    """Whether what Ray's controller tells of a worker is that it does not answer any more."""
    return isinstance(error, WorkerHealthCheckFailedError | RayActorError)


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
