"""Placement groups that nobody uses any more, and that Ray does not remove while the search's job runs.

Where a trial is paused or stopped, its controller (Ray Train's) may see its workers die, and make a group for others,
in the 200 ms before it is killed itself. That group belongs to a dead actor, and keeps its CPUs until the job ends.
With as many of them as there are CPUs, no trial runs any more.
"""

from ray.util.placement_group import remove_placement_group

from jobs.ray_private import actors_placement_groups, is_actor_dead


def remove_orphaned_placement_groups(job_id: str) -> int:
    """Removes the placement groups of this Ray job (its id in hex) whose actor is dead; returns how many."""
    orphaned = [group for group, actor in actors_placement_groups(job_id) if is_actor_dead(actor)]
    for group in orphaned:
        remove_placement_group(group)
    return len(orphaned)
