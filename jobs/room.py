"""What a training waits for until its workers have a place: `2 workers: 1 CPU each, 0 of 2 free`."""

from collections.abc import Sequence

import ray

from jobs.nodes import lost_nodes, nodes_alive, nodes_free
from scenerec.config.scale import ScaleConfig
from scenerec.names import few
from scenerec.training.plan import NodeResources, room_for


def room_sought(scale: ScaleConfig, workers: int) -> str:
    """For which workers Ray looks for room, and what there is; where that is too little, which nodes were lost.

    Args:
        scale: what each worker takes.
        workers: the fewest that can train.
    """
    if not ray.is_initialized():
        ray.init()
    return room_words(scale, workers, nodes_alive(), nodes_free(), lost_nodes())


def room_words(
    scale: ScaleConfig,
    workers: int,
    nodes: Sequence[NodeResources],
    free: Sequence[NodeResources],
    lost: Sequence[str],
) -> str:
    """The words for `room_sought`.

    Args:
        scale: what each worker takes.
        workers: the fewest that can train.
        nodes: those that are alive.
        free: what nobody has of them.
        lost: addresses of nodes that are gone though nobody has ended them.
    """
    parts, is_enough_in_all = [], True
    for what, each, total, unused in (
        ("CPU", scale.cpus_per_worker, sum(node.cpus for node in nodes), sum(node.cpus for node in free)),
        ("GPU", scale.gpus_per_worker, sum(node.gpus for node in nodes), sum(node.gpus for node in free)),
    ):
        if each:
            parts.append(f"{each} {what} each, {unused:g} of {total:g} free")
            is_enough_in_all = is_enough_in_all and unused >= workers * each
    room = room_for(scale, free)
    if room < workers and is_enough_in_all:
        parts.append(f"with room for {room} on the nodes that have them")
    if lost and room < workers:
        was = "was" if len(lost) == 1 else "were"
        parts.append(f"{few(lost)} {was} lost: start Ray there again")
    return f"{workers} worker{'s' * (workers > 1)}: {'; '.join(parts)}"
