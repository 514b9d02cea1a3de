"""Placement groups that nobody uses any more, and that Ray does not remove while their job runs.

Where a worker is lost while its group starts, the controller of the training (Ray Train's) forgets the places of all.
Where a trial is paused or stopped, its controller may see its workers die, and make a group for others, in the 200 ms
before it is killed itself. That group belongs to a dead actor, and keeps its CPUs until the job ends. With as many of
them as there are CPUs, nothing runs any more.
"""

import ray
from ray.util.placement_group import remove_placement_group

from jobs.ray_private import is_actor_dead, own_actor, placement_groups


def remove_orphaned_placement_groups(job_id: str) -> int:
    """Removes the placement groups of this Ray job (its id in hex) whose actor is dead; returns how many."""
    orphaned = [group for group, actor in placement_groups(job_id) if is_actor_dead(actor)]
    for group in orphaned:
        remove_placement_group(group)
    return len(orphaned)


def remove_own_placement_groups() -> None:
    """Removes the placement groups that the actor or driver that calls it has made, and ends what runs in them."""
    for group, actor in placement_groups(ray.get_runtime_context().get_job_id()):
        if actor == own_actor():
            remove_placement_group(group)
