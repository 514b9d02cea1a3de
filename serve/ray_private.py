"""All that serve/ takes from Ray where Ray promises nothing: when a new Ray breaks something, it is here.

Two names that Ray Serve looks up are no imports, and stay where they belong: `__serve_build_asgi_app__` in
`serve.replica`, and the variable in `serve.http.express`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray import serve
from ray._common.network_utils import build_address, get_localhost_ip
from ray.serve._private import default_impl, replica
from ray.serve._private.common import RUNNING_REQUESTS_KEY
from ray.serve.context import _get_global_client
from ray.serve.exceptions import RayServeException

__all__ = [
    "LISTENING_RUNTIME_ENV",
    "RUNNING_REQUESTS_KEY",
    "free_resources_by_node",
    "listen_on_node",
    "node_log_folder",
    "serve_details",
    "with_version",
]


LISTENING_RUNTIME_ENV = {"worker_process_setup_hook": "serve.ray_private.listen_on_node"}
"""The runtime environment of a job whose processes, and those that Ray Serve starts for it, call `listen_on_node`."""


def listen_on_node() -> None:
    """Binds the gRPC servers that Ray Serve will start in this process to the node's own addresses.

    By itself it binds them to all interfaces, whatever `HTTPOptions.host` says: those of the replicas, which answer, of
    its own proxy, and those by which deployments ask each other.
    """
    setattr(default_impl, "add_grpc_address", _add_address)  # noqa: B010 - mypy knows it as the function that it is
    setattr(replica, "add_port_to_grpc_server", _add_internal_port)  # noqa: B010


def _add_address(server: Any, address: str) -> None:
    """HAProxy asks replicas of its own node by the loopback, others by the address of their node."""
    port = int(address.rpartition(":")[2])
    for host in {get_localhost_ip(), ray.util.get_node_ip_address()}:
        server.add_insecure_port(build_address(host, port))


_add_port = replica.add_port_to_grpc_server


def _add_internal_port(server: Any, address: str) -> int:
    port = int(address.rpartition(":")[2])
    return _add_port(server, build_address(ray.util.get_node_ip_address(), port))


def serve_details() -> Mapping[str, Any] | None:
    """All that Ray Serve says of itself and its applications; None where it does not run."""
    try:
        client = _get_global_client()
    except RayServeException:
        return None
    return client.get_serve_details() if client else None


def free_resources_by_node() -> list[Mapping[str, float]]:
    """What each node of the cluster has left now, such as CPU and GPU."""
    return list(ray._private.state.available_resources_per_node().values())


def node_log_folder() -> Path:
    """The folder of Ray's logs on this node, which the dashboard shows."""
    return Path(ray._private.worker._global_node.get_logs_dir_path())


def with_version(deployment: serve.Deployment, version: str) -> serve.Deployment:
    """The deployment under this version: deployed again, only another version starts its processes anew."""
    return deployment.options(version=version, _internal=True)
