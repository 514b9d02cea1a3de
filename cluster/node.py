"""A node of a cluster, as the dashboard describes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Node:
    """A node that is alive: what it offers, and what of that is in use."""

    address: str
    """IP address inside the cluster."""
    is_head: bool
    """Whether the node runs the dashboard."""
    cpus: float
    """CPU cores that the node offers."""
    gpus: float
    """GPUs that the node offers."""
    memory_bytes: float
    """Memory that the node offers to workers."""
    cpus_used: float
    """CPU cores that are reserved."""
    gpus_used: float
    """GPUs that are reserved."""

    @classmethod
    def parse(cls, node: Mapping[str, Any], load: Mapping[str, tuple[float, float]]) -> "Node":
        """Reads the dashboard's description of a node, and its load: resource -> (used, total)."""
        total = node["resources_total"]
        return cls(
            address=node["node_ip"],
            is_head=node["is_head_node"],
            cpus=total.get("CPU", 0.0),
            gpus=total.get("GPU", 0.0),
            memory_bytes=total.get("memory", 0.0),
            cpus_used=load.get("CPU", (0.0, 0.0))[0],
            gpus_used=load.get("GPU", (0.0, 0.0))[0],
        )
