"""All that serve/ takes from Ray where Ray promises nothing: when a new Ray breaks something, it is here.

Two names that Ray Serve looks up are no imports, and stay where they belong: `__serve_build_asgi_app__` in
`serve.replica`, and the variable in `serve.http.express`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray import serve
from ray.serve._private.common import RUNNING_REQUESTS_KEY
from ray.serve.context import _get_global_client
from ray.serve.exceptions import RayServeException

__all__ = [
    "RUNNING_REQUESTS_KEY",
    "free_resources_by_node",
    "node_log_folder",
    "serve_details",
    "with_version",
]


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
