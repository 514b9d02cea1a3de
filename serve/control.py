"""What `scenerec serve` does on a cluster, as a job of it: deploy, look, change the scale, stop.

Prints lines of `scenerec.job_log`, the last of which is the result.
"""

import asyncio
import logging
import os
import sys
import threading
import time
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, Literal

import ray
from pydantic import Field
from ray import serve
from ray.serve.exceptions import RayServeException

from cluster.serve_proxy import CERTIFICATE
from jobs.log import say
from jobs.main import main
from scenerec.config.serve import ServeConfig, ServeScaleConfig
from scenerec.errors import ClusterError, ScenerecError
from scenerec.frozen import Frozen
from scenerec.job_log import Note
from scenerec.json_object import JsonObject
from serve.app import REPLICA, ROLLOUT, build, grpc_options, http_options, replicas_that_fit
from serve.endpoint import await_answer, check_ports
from serve.ray_private import LISTENING_RUNTIME_ENV, free_resources_by_node, serve_details

_STATUS_TIMEOUT_S = 20
_START_TIMEOUT_S = 180
_RUNNING_TIMEOUT_S = 600


class Order(Frozen):
    """What is to be done."""

    action: Literal["deploy", "status", "scale", "stop"]
    """Which of the four."""
    name: str = ""
    """Name of the application; for `status` all of them where it is empty."""
    config: ServeConfig | None = None
    """What to deploy."""
    scale: JsonObject = Field(default_factory=dict)
    """What to change of the deployed config's scale."""
    default_host: str = "0.0.0.0"
    """Interface of the endpoint where the config names none."""


def run_file(file: str) -> JsonObject:
    """Does what the order in `file` says; returns what the result says of it. Raises ClusterError."""
    order = Order.model_validate_json(Path(file).read_bytes())
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    ray.init(address="auto", runtime_env=LISTENING_RUNTIME_ENV, log_to_driver=False, logging_level="ERROR")
    return _ACTIONS[order.action](order)


def deploy(order: Order) -> JsonObject:
    """Brings an application into service, or up to date, and waits until it answers."""
    assert order.config is not None
    return _run(order.config, order.default_host)


def scale(order: Order) -> JsonObject:
    """Deploys an application anew with another scale; its processes stay."""
    deployed = ServeConfig.model_validate(_rollout_status(order.name)["config"])
    changed = deployed.model_dump(mode="json")
    changed["scale"] |= order.scale
    return _run(ServeConfig.model_validate(changed), order.default_host)


def status(order: Order) -> JsonObject:
    """What runs, and what it serves."""
    applications = _applications()
    if order.name and order.name not in applications:
        raise _unknown(order.name, applications)
    names = [order.name] if order.name else list(applications)
    return {"applications": [_describe(name, applications[name]) for name in names], **_endpoint()}


def stop(order: Order) -> JsonObject:
    """Ends an application; the last one takes Ray Serve along, so that the next may listen elsewhere."""
    applications = _applications()
    if order.name not in applications:
        raise _unknown(order.name, applications)
    serve.delete(order.name)
    left = [name for name in _applications() if name != order.name]
    if not left:
        serve.shutdown()
    return {"stopped": order.name, "left": left}


_ACTIONS = {"deploy": deploy, "scale": scale, "status": status, "stop": stop}


def _run(config: ServeConfig, default_host: str) -> JsonObject:
    _refuse_taken_route(config)
    _start(config, default_host)
    say(Note(f"deploying {config.name}: {', '.join(model.name for model in config.models)}"))
    target = serve.RunTarget(
        build(config, _has_room(config.scale)), name=config.name, route_prefix=config.http.route_prefix
    )
    serve.run_many([target], wait_for_applications_running=False)
    _await_running(config.name)
    endpoint = _endpoint()
    http, host = config.http.model_copy(update={"port": endpoint["http"]["port"]}), endpoint["http"]["host"]
    await_answer(http, host, endpoint["grpc_port"], config.name, endpoint["tls"])
    return {**_describe(config.name, _applications()[config.name]), **endpoint}


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


def _has_room(scale: ServeScaleConfig) -> bool:
    """Whether the nodes could take all replicas a second time, now."""
    nodes = free_resources_by_node()
    room = sum(replicas_that_fit(scale, node.get("CPU", 0), node.get("GPU", 0)) for node in nodes)
    return room >= scale.max_replicas


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


def _describe(name: str, application: Any) -> JsonObject:
    replicas = application["deployments"].get(REPLICA, {}).get("replicas", [])
    found = {
        "name": name,
        "status": application["status"],
        "message": application["message"],
        "route_prefix": application["route_prefix"],
        "replicas": dict(Counter(each["state"] for each in replicas)),
    }
    try:
        return {**found, **_rollout_status(name)}
    except ScenerecError as error:
        return {**found, "rollout": str(error)}


def _rollout_status(name: str) -> JsonObject:
    applications = _applications()
    if name not in applications:
        raise _unknown(name, applications)

    async def ask() -> JsonObject:
        return await serve.get_deployment_handle(ROLLOUT, name).status.remote()

    try:
        return asyncio.run_coroutine_threadsafe(ask(), _handles_loop()).result(_STATUS_TIMEOUT_S)
    except (TimeoutError, RayServeException, ray.exceptions.RayError) as error:
        raise ClusterError(f"{name}: its roll-out does not answer: {str(error).splitlines()[0]}") from None


@cache
def _handles_loop() -> asyncio.AbstractEventLoop:
    """The loop in which handles live: as Ray Serve is tuned they need one, and the first one's for ever."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="handles", daemon=True).start()
    return loop


def _endpoint() -> JsonObject:
    details = serve_details()
    if details is None:
        return {"http": None, "grpc_port": None, "tls": False}
    http, grpc = details["http_options"], details.get("grpc_options") or {}
    return {
        "http": {"host": http["host"], "port": http["port"]},
        "tls": CERTIFICATE in os.environ,
        "grpc_port": grpc.get("port") if grpc.get("grpc_servicer_functions") else None,
    }


def _why_not(application: JsonObject) -> str:
    """What was raised, of all that Ray Serve says of an application that does not start."""
    messages = [deployment["message"] for deployment in application["deployments"].values()]
    message = next(filter(None, messages), application["message"])
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    reasons = [line for line in lines if "Error:" in line]
    return (reasons or lines or ["did not start, and nothing says why"])[-1].partition("Error: ")[2] or lines[-1]


def _unknown(name: str, applications: JsonObject) -> ClusterError:
    known = ", ".join(applications) or "none: start one with `scenerec serve deploy`"
    return ClusterError(f"no application {name} on this cluster; there are: {known}")


if __name__ == "__main__":
    sys.exit(main("serve.control"))
