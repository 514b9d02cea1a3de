"""The applications that Ray Serve runs on a cluster, by the dashboard's HTTP interface."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cluster.client import ClusterClient

_PATH = "/api/serve/applications/"


@dataclass(frozen=True)
class Endpoint:
    """Where a cluster's endpoint listens: its first application decides."""

    host: str
    """Interface, such as 127.0.0.1 or 0.0.0.0."""
    port: int
    """Port of HTTP."""
    grpc_port: int | None
    """Port of gRPC; None where there is none."""


def find_endpoint(client: ClusterClient) -> Endpoint | None:
    """The endpoint of the cluster; None where nothing is served."""
    details: Mapping[str, Any] = client.request("GET", _PATH)
    http, grpc = details.get("http_options"), details.get("grpc_options") or {}
    if not (http and details["proxies"]):
        return None
    return Endpoint(http["host"], http["port"], grpc.get("port") if grpc.get("grpc_servicer_functions") else None)
