"""From serve.yaml to a Ray Serve application."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve.config import AutoscalingConfig, HTTPOptions, gRPCOptions
from ray.serve.schema import LoggingConfig

import scenerec
from scenerec.config.file import parse_as
from scenerec.config.serve import ServeConfig, ServeScaleConfig
from serve.access.admission import MOST
from serve.http import express
from serve.managed_rollout import ManagedRollout
from serve.ray_private import free_resources_by_node, with_version
from serve.replica import Replica, ReplicaSettings

ROLLOUT = "Rollout"
REPLICA = "Replica"

_NOT_SERVED = ("client", "commands", "export", "search", "training")
"""Rooms of scenerec that no replica runs: a change of them is none of an application."""


def deploy(config: ServeConfig) -> None:
    """Deploys the application on the Ray Serve that runs, without waiting for it."""
    application = build(config, _has_room(config.scale))
    target = serve.RunTarget(application, name=config.name, route_prefix=config.http.route_prefix)
    serve.run_many([target], wait_for_applications_running=False)


def from_file(args: dict[str, Any]) -> serve.Application:
    """The application of a serve.yaml that a config file of Ray Serve holds as `args`, as KubeRay's RayService does.

    Ray Serve gives it the version of its file: whatever changes there starts all replicas anew, one after another.
    """
    config = parse_as(ServeConfig, json.dumps(args), "args")
    return build(config, _has_room(config.scale))


def build(config: ServeConfig, has_room: bool) -> serve.Application:
    """The application: replicas that answer, and the roll-out that tells them what with.

    Deployed again, it leaves its processes as they are unless the code or what they were started with has changed.

    Args:
        config: what is served.
        has_room: whether the cluster could hold all replicas twice. New ones then start before old ones stop; else
            each takes the place of one that has stopped: Ray Serve would wait for room for ever.
    """
    logging = LoggingConfig(enable_access_log=False)
    rollout = _versioned(
        serve.deployment(ManagedRollout).options(
            name=ROLLOUT,
            user_config=config.model_dump(mode="json"),
            max_ongoing_requests=10_000,
            ray_actor_options={"num_cpus": 0},
            graceful_shutdown_timeout_s=2,
            logging_config=logging,
        )
    )
    settings = ReplicaSettings.of(config)
    replica = _versioned(
        serve.deployment(Replica).options(
            name=REPLICA,
            max_ongoing_requests=MOST,
            max_queued_requests=MOST,
            autoscaling_config=autoscaling(config.scale),
            ray_actor_options={
                "num_cpus": config.scale.cpus_per_replica,
                "num_gpus": config.scale.gpus_per_replica,
                "runtime_env": {"env_vars": express.VARIABLES},
            },
            graceful_shutdown_timeout_s=2 * config.http.timeout_s,
            health_check_period_s=2,
            health_check_timeout_s=10,
            max_surge_percent=100 if has_room else 0,
            # Else Ray Serve makes an access log's line of each request, to throw it away.
            logging_config=logging.model_copy(update={"log_level": "WARNING"}),
        ),
        settings.model_dump_json(),
    )
    return replica.bind(settings, rollout.bind(deploy))


def autoscaling(scale: ServeScaleConfig) -> AutoscalingConfig:
    """Ray Serve's settings of autoscaling."""
    return AutoscalingConfig(
        min_replicas=scale.min_replicas,
        max_replicas=scale.max_replicas,
        initial_replicas=scale.initial_replicas or max(scale.min_replicas, 1),
        target_ongoing_requests=scale.target_ongoing_requests,
        upscale_delay_s=scale.upscale_delay_s,
        downscale_delay_s=scale.downscale_delay_s,
        look_back_period_s=max(1.0, min(scale.upscale_delay_s, 10.0)),
    )


def replicas_that_fit(scale: ServeScaleConfig, cpus: float, gpus: float) -> int:
    """How many replicas a node with these free resources could take."""
    fitting = cpus // scale.cpus_per_replica
    if scale.gpus_per_replica:
        fitting = min(fitting, gpus // scale.gpus_per_replica)
    return int(fitting)


def _has_room(scale: ServeScaleConfig) -> bool:
    """Whether the nodes could take all replicas a second time, now."""
    nodes = free_resources_by_node()
    room = sum(replicas_that_fit(scale, node.get("CPU", 0), node.get("GPU", 0)) for node in nodes)
    return room >= scale.max_replicas


def http_options(config: ServeConfig, default_host: str) -> HTTPOptions:
    """Where the cluster's HTTP endpoint listens: its first application decides."""
    return HTTPOptions(host=config.http.host or default_host, port=config.http.port)


def grpc_options(config: ServeConfig) -> gRPCOptions | None:
    """Where the cluster's gRPC endpoint listens, if it has one: its first application decides."""
    if config.http.grpc_port is None:
        return None
    return gRPCOptions(port=config.http.grpc_port, grpc_servicer_functions=["serve.oip.grpc_methods.add_to_server"])


def _versioned(deployment: serve.Deployment, started_with: str = "") -> serve.Deployment:
    """Gives it a version by its code and its settings. Ray would take each deployment for another version."""
    return with_version(deployment, hashlib.sha256(f"{_code_digest()}\n{started_with}".encode()).hexdigest()[:16])


@cache
def _code_digest() -> str:
    """SHA-256 of the sources that a replica runs."""
    digest = hashlib.sha256()
    for name, path in served_sources().items():
        digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def served_sources() -> dict[str, Path]:
    """The files that a replica runs, by their path from the folder of their package, in the order of these paths.

    A job has each package in a folder of its own.
    """
    packages = (Path(scenerec.__file__).parent, Path(__file__).parent)
    found = (
        (path.relative_to(package.parent), path)
        for package in packages
        for path in package.rglob("*")
        if path.suffix in (".py", ".html")
    )
    return {name.as_posix(): path for name, path in sorted(found) if name.parts[1] not in _NOT_SERVED}
