"""The nodes of the cluster that this process has joined: those that are alive, and those that were lost."""

import ray
from ray.core.generated.common_pb2 import NodeDeathInfo

from scenerec.training.plan import NodeResources

_BY_ACCIDENT = NodeDeathInfo.Reason.UNEXPECTED_TERMINATION


def nodes_alive() -> list[NodeResources]:
    """What each node offers to workers."""
    offers = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [NodeResources(each.get("CPU", 0), each.get("GPU", 0)) for each in offers]


def lost_nodes() -> list[str]:
    """Addresses of nodes that are gone though neither `ray stop` nor a drain has ended them, and did not come back."""
    known = ray.nodes()
    alive = {node["NodeManagerAddress"] for node in known if node["Alive"]}
    lost = {node["NodeManagerAddress"] for node in known if node["DeathReason"] == _BY_ACCIDENT}
    return sorted(lost - alive)
