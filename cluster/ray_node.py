"""The embedded Ray node: head, dashboard and workers of one machine, on loopback."""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from typing_extensions import override

from cluster import loopback, ray_private, serve_proxy
from cluster.server import Server

# These, in the environment of whoever starts the cluster, speak of another one.
_NOT_INHERITED = {"RAY_ADDRESS", "RAY_JOB_HEADERS", "RAY_AUTH_TOKEN_PATH"}

_PORT_OPTIONS = {
    "gcs": "port",
    "dashboard": "dashboard-port",
    "agent": "dashboard-agent-listen-port",
    "agent_grpc": "dashboard-agent-grpc-port",
    "runtime_env_agent": "runtime-env-agent-port",
    "metrics": "metrics-export-port",
    "node_manager": "node-manager-port",
    "object_manager": "object-manager-port",
    "client": "ray-client-server-port",
}
"""The options of `ray start` by which it is given its ports, by our names of these."""

TRAIN_ENVIRONMENT = {
    # Ray Train learns of a checkpoint only when it polls its workers, every 2 s by default.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    # Its patch of `print` would write every line twice.
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
}
"""Settings of Ray Train, by variable; Ray reads them when it is imported, in the driver and in its workers."""


@dataclass(frozen=True)
class RayNode(Server):
    """The Ray node of one embedded cluster."""

    temp: Path
    """Folder of the node's sessions and sockets."""
    token: str = field(repr=False)
    """Authentication token that the node asks of everyone."""
    store_environment: Mapping[str, str] = field(repr=False)
    """Variables by which workers reach the embedded store; where empty, they inherit those of this process."""
    cpus: int | None = None
    """CPU cores that the node offers; None counts those of the machine."""
    gpus: int | None = None
    """GPUs that the node offers; None counts those of the machine."""
    object_store_mb: int = 300
    """Size of the shared memory, in megabytes; images and gradients do not pass through it."""

    name = "ray"
    port_names = (*_PORT_OPTIONS, "autoscaler_metrics", "dashboard_metrics", *serve_proxy.PORT_NAMES)
    # Ray drains its node and ends the workers within some four seconds. It would wait longer for replicas of Ray Serve,
    # whom nobody can ask any more: their proxy is the first to go.
    stop_patience_s = 6.0

    @override
    def command(self, ports: dict[str, int]) -> list[str]:
        for session in self.temp.glob("session_*"):
            shutil.rmtree(session, ignore_errors=True)
        return [
            *(sys.executable, "-m", ray_private.START_MODULE, "start", "--head", "--block", "--disable-usage-stats"),
            *("--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", f"--temp-dir={self.temp}"),
            # Jobs are sent to the dashboard: where it does not start, Ray would otherwise go on without it.
            "--include-dashboard=true",
            *(f"--{option}={ports[name]}" for name, option in _PORT_OPTIONS.items()),
            # Workers take the ports that the system gives them, so that two clusters never share a range.
            *("--min-worker-port=0", "--max-worker-port=0"),
            *(f"--object-store-memory={self.object_store_mb * 1_000_000}", "--log-color=false"),
            *([] if self.cpus is None else [f"--num-cpus={self.cpus}"]),
            *([] if self.gpus is None else [f"--num-gpus={self.gpus}"]),
        ]

    @override
    def environment(self, ports: dict[str, int]) -> dict[str, str]:
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
            # How long the dashboard may take to start before Ray gives up: 60 s by default.
            "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "110",
            # Share of the machine's memory, whoever uses it, above which Ray kills workers.
            "RAY_memory_usage_threshold": "0.97",
            **TRAIN_ENVIRONMENT,
            **ray_private.IDLE_ENVIRONMENT,
            **serve_proxy.environment(self._proxy_folder, ports, serve_proxy.write_launcher(self._proxy_folder)),
        }

    @property
    def _proxy_folder(self) -> Path:
        folder = self.temp.parent / "p"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @override
    def is_ready(self, ports: dict[str, int]) -> bool:
        """Whether the node has joined its cluster, so that jobs can be submitted."""
        answer = loopback.get(f"{self.url(ports)}{ray_private.NODES_PATH}", {"Authorization": f"Bearer {self.token}"})
        try:
            nodes = json.loads(answer or b"")["data"]["result"]["result"]
        except (ValueError, KeyError, TypeError):
            return False
        return any(node["state"] == "ALIVE" for node in nodes)

    @override
    def clean_up(self, ports: dict[str, int]) -> None:
        """Does nothing: the logs of the sessions stay until the next start."""

    def url(self, ports: dict[str, int]) -> str:
        """Returns the address of the dashboard and of the Jobs API."""
        return f"http://127.0.0.1:{ports['dashboard']}"

    def metrics_url(self, ports: dict[str, int]) -> str:
        """Returns the address at which the node exports its metrics, and those of what runs on it, for Prometheus."""
        return f"http://127.0.0.1:{ports['metrics']}/metrics"

    @property
    def discovery_file(self) -> Path:
        """Returns the file in which Ray tells Prometheus what to scrape."""
        return self.temp / ray_private.DISCOVERY_FILE

    @property
    def grafana_dashboards(self) -> Path:
        """Returns the folder in which Ray puts its own dashboards for Grafana."""
        return self.temp / ray_private.GRAFANA_DASHBOARDS

    def client_environment(self) -> dict[str, str]:
        """Returns the variables that a program needs to reach the node by `ray.init` or by the Jobs API."""
        return {
            # On Linux Ray binds to all interfaces unless it believes that it cannot form clusters.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            # Stated on both sides: where it is not, Ray guesses from files in ~/.ray.
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
        }
