"""Placement groups that nobody uses any more, and that Ray does not remove while the search's job runs.

Where a trial is paused or stopped, its controller (Ray Train's) may see its workers die, and make a group for others,
in the 200 ms before it is killed itself. Ray Train's cleaner knows of the group before; the last one belongs to a
dead actor, and keeps its CPUs until the job ends. With as many of them as there are CPUs, no trial runs any more.
"""

from ray._private.state import state as cluster_state
from ray._raylet import PlacementGroupID
from ray.core.generated.gcs_pb2 import PlacementGroupTableData
from ray.util.placement_group import PlacementGroup, remove_placement_group

_NO_ACTOR = 0xFF  # all bytes of the id, where a driver has made the placement group


def remove_orphaned_placement_groups(job_id: str) -> int:
    """Removes the placement groups of this Ray job (its id in hex) whose actor is dead; returns how many.

    Ray's public tables do not name the actor, the one of its head does.
    """
    groups = map(
        PlacementGroupTableData.FromString, cluster_state._connect_and_get_accessor().get_placement_group_table()
    )
    orphaned = [group for group in groups if group.creator_job_id.hex() == job_id and _is_orphaned(group)]
    for group in orphaned:
        remove_placement_group(PlacementGroup(PlacementGroupID(group.placement_group_id)))
    return len(orphaned)


def _is_orphaned(group: PlacementGroupTableData) -> bool:
    if group.state == PlacementGroupTableData.PlacementGroupState.REMOVED or group.is_detached:
        return False
    if set(group.creator_actor_id) == {_NO_ACTOR}:
        return False
    return cluster_state.actor_table(group.creator_actor_id.hex()).get("State") == "DEAD"
