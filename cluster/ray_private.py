"""What the cluster uses of Ray that Ray does not document: a new release of Ray may change it, and is to be read here.

The variables of Ray Serve's proxy, private too, are in `cluster.serve_proxy`.
"""

import logging
from collections.abc import Mapping
from typing import Any

START_MODULE = "ray.scripts.scripts"
"""Module behind the command `ray`, which may not be on the PATH."""

IDLE_ENVIRONMENT = {
    # What follows takes of an idle node's processor time what nobody needs: it would be missing to an endpoint.
    # Each worker keeps statistics of its event loop, which wakes a hundred times a second.
    "RAY_event_stats": "0",
    # New log files are looked for in a folder's whole listing: once a second instead of ten times.
    "RAY_LOG_MONITOR_MANY_FILES_THRESHOLD": "1",
    "LOG_NAME_UPDATE_INTERVAL_S": "1",
    # The dashboard's account of its own memory, for which the kernel walks through all its pages.
    "METRICS_RECORD_INTERVAL_S": "60",
    # The processes and the load of the node, as the dashboard shows them: every 5 s by default.
    "REPORTER_UPDATE_INTERVAL_MS": "10000",
    # Whether the raylet is still there: every 0.4 s by default.
    "RAY_DASHBOARD_AGENT_CHECK_PARENT_INTERVAL_S": "2",
}
"""Environment of a node that rests, by variable."""

NODES_PATH = "/api/v0/nodes"
"""Path of the dashboard's list of nodes."""

LOAD_PATH = "/api/cluster_status"
"""Path of the dashboard's report on the load."""

DISCOVERY_FILE = "prom_metrics_service_discovery.json"
"""File in a cluster's temporary folder that tells Prometheus what to scrape."""

GRAFANA_DASHBOARDS = "session_latest/metrics/grafana/dashboards"
"""Folder of Ray's own dashboards, in a cluster's temporary folder."""

_UPLOAD_LOGGERS = ("ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging")


def load_of_nodes(status: Mapping[str, Any]) -> Mapping[str, Mapping[str, tuple[float, float]]]:
    """Reads the answer at LOAD_PATH: node id -> resource -> (used, total); a node that has not reported is missing."""
    report = (status["clusterStatus"] or {}).get("loadMetricsReport") or {}
    return report.get("usageByNode") or {}


def was_lost(node: Mapping[str, Any]) -> bool:
    """Whether a node of the list at NODES_PATH has ended otherwise than by `ray stop`, a drain or the autoscaler."""
    return node["state"] == "DEAD" and (node["state_message"] or "").startswith("Unexpected termination")


def silence_uploads() -> None:
    """Keeps the Jobs client from logging each working folder that it sends."""
    for name in _UPLOAD_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
