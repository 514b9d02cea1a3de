"""The nodes of the cluster that this process has joined: those that are alive, and those that were lost."""

from collections.abc import Mapping

import ray
from ray.core.generated.common_pb2 import NodeDeathInfo

from jobs.ray_private import free_resources
from scenerec.training.plan import NodeResources

_BY_ACCIDENT = NodeDeathInfo.Reason.UNEXPECTED_TERMINATION


def nodes_alive() -> list[NodeResources]:
    """What each node offers to workers."""
    return [_of_workers(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def nodes_free() -> list[NodeResources]:
    """What nobody has of what each node offers to workers."""
    return [_of_workers(free) for free in free_resources()]


def _of_workers(resources: Mapping[str, float]) -> NodeResources:
    return NodeResources(resources.get("CPU", 0), resources.get("GPU", 0))


def lost_nodes() -> list[str]:
    """Addresses of nodes that are gone though neither `ray stop` nor a drain has ended them, and did not come back."""
    known = ray.nodes()
    alive = {node["NodeManagerAddress"] for node in known if node["Alive"]}
    lost = {node["NodeManagerAddress"] for node in known if node["DeathReason"] == _BY_ACCIDENT}
    return sorted(lost - alive)
