"""What `scenerec serve` does on a cluster as a job of it: deploy, and stop where nothing else can be told to.

Prints lines of `scenerec.job_log`, the last of which is the result.
"""

import logging
import os
import sys
import time
from pathlib import Path

import ray
from ray import serve

from cluster.applications import endpoint_of
from cluster.serve_proxy import CERTIFICATE
from jobs.log import say
from jobs.main import main
from scenerec.config.serve import ServeConfig
from scenerec.errors import ClusterError
from scenerec.frozen import Frozen
from scenerec.job_log import Note
from scenerec.json_object import JsonObject
from serve.app import deploy, grpc_options, http_options
from serve.endpoint import await_answer, check_ports
from serve.ray_private import LISTENING_RUNTIME_ENV, serve_details

_START_TIMEOUT_S = 180
_RUNNING_TIMEOUT_S = 600


class Order(Frozen):
    """What is to be done with an application."""

    name: str
    """Name of the application."""
    config: ServeConfig | None = None
    """What to deploy; None ends the application."""
    default_host: str = "0.0.0.0"
    """Interface of the endpoint where the config names none."""


def run_file(file: str) -> JsonObject:
    """Does what the order in `file` says; returns the name of its application. Raises ClusterError."""
    order = Order.model_validate_json(Path(file).read_bytes())
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    ray.init(address="auto", runtime_env=LISTENING_RUNTIME_ENV, log_to_driver=False, logging_level="ERROR")
    if order.config is not None:
        _deploy(order.config, order.default_host)
    elif order.name in _applications():
        serve.delete(order.name)
    return {"application": order.name}


def _deploy(config: ServeConfig, default_host: str) -> None:
    """Brings an application into service, or up to date, and waits until it answers."""
    _refuse_taken_route(config)
    _start(config, default_host)
    say(Note(f"deploying {config.name}: {', '.join(model.name for model in config.models)}"))
    deploy(config)
    _await_running(config.name)
    endpoint = endpoint_of(serve_details() or {})
    assert endpoint is not None
    speaks_tls = bool(os.environ.get(CERTIFICATE))
    http = config.http.model_copy(update={"port": endpoint.port})
    await_answer(http, endpoint.host, endpoint.grpc_port, config.name, speaks_tls)


def _start(config: ServeConfig, default_host: str) -> None:
    """Starts Ray Serve, with its proxies, where it does not run yet. Raises ClusterError."""
    if serve_details() is None:
        check_ports(config.http, config.http.host or default_host)
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            serve.start(http_options=http_options(config, default_host), grpc_options=grpc_options(config))
            return
        except (TimeoutError, ray.exceptions.RayError) as error:
            # Ray waits for a minute, and goes on starting proxies on a slow machine after that.
            if time.monotonic() > deadline:
                reason = str(error).strip().splitlines()[0]
                raise ClusterError(f"Ray Serve does not start: {reason} (its logs: logs/serve of the node)") from None
            time.sleep(1)


def _await_running(name: str) -> None:
    """Until the application answers as it was deployed. Raises ClusterError where it fails, or does not come up."""
    deadline, told = time.monotonic() + _RUNNING_TIMEOUT_S, ""
    while True:
        application = _applications()[name]
        if application["status"] == "RUNNING":
            return
        if application["status"] == "DEPLOY_FAILED":
            raise ClusterError(f"{name}: {_why_not(application)}")
        waiting = next((each["message"] for each in application["deployments"].values() if each["message"]), "")
        if waiting and waiting != told:
            told = waiting
            say(Note(waiting.splitlines()[0]))
        if time.monotonic() > deadline:
            raise ClusterError(f"{name}: is not up after {_RUNNING_TIMEOUT_S / 60:g} min: {told or 'nothing says why'}")
        time.sleep(0.5)


def _refuse_taken_route(config: ServeConfig) -> None:
    for name, application in _applications().items():
        if name != config.name and application["route_prefix"] == config.http.route_prefix:
            raise ClusterError(
                f"http.route_prefix: {config.http.route_prefix} is that of {name}: "
                f"give {config.name} another, or end that one with `scenerec serve stop {name}`"
            )


def _applications() -> JsonObject:
    """The applications by name, as Ray Serve describes them; none where it does not run."""
    details = serve_details()
    return dict(details["applications"]) if details else {}


def _why_not(application: JsonObject) -> str:
    """What was raised, of all that Ray Serve says of an application that does not start."""
    messages = [deployment["message"] for deployment in application["deployments"].values()]
    message = next(filter(None, messages), application["message"])
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    reasons = [line for line in lines if "Error:" in line]
    return (reasons or lines or ["did not start, and nothing says why"])[-1].partition("Error: ")[2] or lines[-1]


if __name__ == "__main__":
    sys.exit(main("serve.control"))
