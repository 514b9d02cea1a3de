"""The embedded Ray node: head, dashboard and workers of one machine, on loopback."""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cluster import loopback, serve_proxy

# These, in the environment of whoever starts the cluster, speak of another one.
_NOT_INHERITED = {"RAY_ADDRESS", "RAY_JOB_HEADERS", "RAY_AUTH_TOKEN_PATH"}

TRAIN_ENVIRONMENT = {
    # Ray Train learns of a checkpoint only when it polls its workers, every 2 s by default.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    # Its patch of `print` would write every line twice.
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
}

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


@dataclass(frozen=True)
class RayNode:
    """The Ray node of one cluster (a Server)."""

    temp: Path
    """Folder of its sessions and sockets."""
    token: str = field(repr=False)
    """Ray's authentication token."""
    store_environment: Mapping[str, str] = field(repr=False)
    """By which its workers reach the embedded store; empty: they inherit the variables of this process."""
    cpus: int | None = None
    """CPU cores that it offers; None counts those of the machine."""
    gpus: int | None = None
    """GPUs that it offers; None counts those of the machine."""
    object_store_mb: int = 300
    """Size of the shared memory; images and gradients do not pass through it."""

    name = "ray"
    port_names = (
        *("gcs", "dashboard", "agent", "agent_grpc", "runtime_env_agent", "metrics", "node_manager"),
        *("object_manager", "client", "autoscaler_metrics", "dashboard_metrics"),
        *serve_proxy.PORT_NAMES,
    )
    stop_patience_s = 15.0
    """Ray drains its node and ends the workers, within some four seconds."""

    def command(self, ports: dict[str, int]) -> list[str]:
        """See Server."""
        for session in self.temp.glob("session_*"):
            shutil.rmtree(session, ignore_errors=True)
        return [
            *(
                sys.executable,
                "-m",
                "ray.scripts.scripts",
                "start",
                "--head",
                "--block",
                "--disable-usage-stats",
            ),
            *("--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", f"--temp-dir={self.temp}"),
            *(f"--port={ports['gcs']}", f"--dashboard-port={ports['dashboard']}"),
            *(
                f"--dashboard-agent-listen-port={ports['agent']}",
                f"--dashboard-agent-grpc-port={ports['agent_grpc']}",
            ),
            *(
                f"--runtime-env-agent-port={ports['runtime_env_agent']}",
                f"--metrics-export-port={ports['metrics']}",
            ),
            *(
                f"--node-manager-port={ports['node_manager']}",
                f"--object-manager-port={ports['object_manager']}",
            ),
            # Workers take the ports that the system gives them, so that two clusters never share a range.
            *(f"--ray-client-server-port={ports['client']}", "--min-worker-port=0", "--max-worker-port=0"),
            *(f"--object-store-memory={self.object_store_mb * 1_000_000}", "--log-color=false"),
            *([] if self.cpus is None else [f"--num-cpus={self.cpus}"]),
            *([] if self.gpus is None else [f"--num-gpus={self.gpus}"]),
        ]

    def environment(self, ports: dict[str, int]) -> dict[str, str]:
        """See Server. All workers inherit it."""
        inherited = {key: value for key, value in os.environ.items() if key not in _NOT_INHERITED}
        if self.store_environment:
            inherited = {key: value for key, value in inherited.items() if not key.startswith("AWS_")}
        return {
            **inherited,
            **self.store_environment,
            **self.client_environment(),
            **loopback.no_proxy(),
            # `python` in a job is the Python of this node, also when its environment has not been activated.
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))),
            "AUTOSCALER_METRIC_PORT": str(ports["autoscaler_metrics"]),
            "DASHBOARD_METRIC_PORT": str(ports["dashboard_metrics"]),
            # Parts of Ray would otherwise look for a Ray on this machine, and give up where there are two.
            "RAY_API_SERVER_ADDRESS": self.url(ports),
            "RAY_USAGE_STATS_ENABLED": "0",
            # Share of the machine's memory, whoever uses it, above which Ray kills workers.
            "RAY_memory_usage_threshold": "0.97",
            # By itself Ray would run its workers at a low priority: an endpoint would starve beside any other program.
            "RAY_worker_niceness": "0",
            **TRAIN_ENVIRONMENT,
            **IDLE_ENVIRONMENT,
            **serve_proxy.environment(self._proxy_folder, ports, serve_proxy.write_launcher(self._proxy_folder)),
        }

    @property
    def _proxy_folder(self) -> Path:
        folder = self.temp.parent / "p"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def is_ready(self, ports: dict[str, int]) -> bool:
        """See Server: the node has joined, so that jobs can be submitted."""
        answer = loopback.get(f"{self.url(ports)}/api/v0/nodes", {"Authorization": f"Bearer {self.token}"})
        try:
            nodes = json.loads(answer or b"")["data"]["result"]["result"]
        except (ValueError, KeyError, TypeError):
            return False
        return any(node["state"] == "ALIVE" for node in nodes)

    def clean_up(self, ports: dict[str, int]) -> None:
        """See Server. Logs of the sessions stay until the next start."""

    def url(self, ports: dict[str, int]) -> str:
        """Address of the dashboard and of the Jobs API."""
        return f"http://127.0.0.1:{ports['dashboard']}"

    def client_environment(self) -> dict[str, str]:
        """What a program needs to reach the node by `ray.init` or by the Jobs API."""
        return {
            # On Linux Ray binds to all interfaces unless it believes that it cannot form clusters.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            # Stated on both sides: where it is not, Ray guesses from files in ~/.ray.
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
        }
