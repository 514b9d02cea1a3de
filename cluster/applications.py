"""The applications that Ray Serve runs on a cluster: asked and told by HTTP, without a job and without Ray here."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import requests

from cluster.client import ClusterClient
from scenerec.errors import ClusterError
from scenerec.json_object import JsonObject

_APPLICATIONS = "/api/serve/applications/"
_REPLICA, _ROLLOUT = "Replica", "Rollout"
_ORDER_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Endpoint:
    """Where a cluster's endpoint listens: its first application decides."""

    host: str
    """Interface, such as 127.0.0.1 or 0.0.0.0."""
    port: int
    """Port of HTTP."""
    grpc_port: int | None
    """Port of gRPC; None where there is none."""


class Applications:
    """What runs now: each method asks anew. All raise ClusterError where the cluster does not answer.

    Args:
        client: of the cluster.
    """

    def __init__(self, client: ClusterClient) -> None:
        self._client = client

    def endpoint(self) -> Endpoint | None:
        """Returns where the endpoint listens; None where nothing is served."""
        return endpoint_of(self._details())

    def status(self, name: str = "") -> JsonObject:
        """Returns how the applications, or the one of this name, stand, and where the endpoint is.

        Raises ClusterError where there is none of this name.
        """
        details = self._details()
        endpoint = endpoint_of(details)
        chosen = [self._find(details, name)] if name else details["applications"].values()
        described = [self._describe(application) for application in chosen]
        has_tls = any(application.get("tls") for application in described)
        host = urlsplit(self._client.address.url).hostname or "127.0.0.1"
        for each in described:
            prefix = (each["route_prefix"] or "").rstrip("/")  # none while it begins
            each["url"] = f"http{'s' if has_tls else ''}://{host}:{endpoint.port}{prefix}" if endpoint else "-"
        return {
            "applications": described,
            "http": {"host": endpoint.host, "port": endpoint.port} if endpoint else None,
            "grpc_port": endpoint.grpc_port if endpoint else None,
            "tls": has_tls,
        }

    def config(self, name: str) -> JsonObject:
        """Returns the config that an application was deployed with. Raises ClusterError where there is no such one."""
        application = self._find(self._details(), name)
        try:
            return application["deployments"][_ROLLOUT]["deployment_config"]["user_config"]
        except (KeyError, TypeError):
            raise ClusterError(f"{name}: was not deployed by `scenerec serve deploy`") from None

    def deploy(self, name: str, config: JsonObject) -> bool:
        """Deploys a running application by another config, without waiting; False where it cannot be told here."""
        return self._order(self._find(self._details(), name), "PUT", "/config", config)

    def delete(self, name: str) -> bool:
        """Begins to end an application; False where no application of the cluster can be told to do it here."""
        details = self._details()
        first = self._find(details, name)
        others = [each for each in details["applications"].values() if each["name"] != name]
        return any(self._order(each, "POST", f"/delete/{name}") for each in [first, *others])

    def names(self) -> list[str]:
        """Returns the names of the applications, those included that are ending."""
        return list(self._details()["applications"])

    def shut_down(self, patience_s: float) -> None:
        """Ends Ray Serve itself, with its proxies and whatever application is left; waits so long for its end.

        Ray answers after half a minute whether or not it has ended, and until then the ports are not free. Raises
        ClusterError where it does not end.
        """
        self._client.text("DELETE", _APPLICATIONS)
        ends_at_s = time.monotonic() + patience_s
        while time.monotonic() < ends_at_s:
            with suppress(ClusterError):  # of a controller that ends as it is asked
                if self.endpoint() is None:
                    return
            time.sleep(0.1)
        raise ClusterError(
            f"Ray Serve has not ended within {patience_s:g} s of its last application, and holds its ports: what it "
            "waits for stands in `scenerec serve status`; ask again"
        )

    def _details(self) -> JsonObject:
        return self._client.request("GET", _APPLICATIONS)

    def _find(self, details: JsonObject, name: str) -> JsonObject:
        if name not in details["applications"]:
            known = ", ".join(details["applications"]) or "none: start one with `scenerec serve deploy`"
            raise ClusterError(f"no application {name} on this cluster; there are: {known}")
        return details["applications"][name]

    def _describe(self, application: JsonObject) -> JsonObject:
        replicas = application["deployments"].get(_REPLICA, {}).get("replicas", [])
        described = {
            "name": application["name"],
            "status": application["status"],
            "message": application["message"],
            "route_prefix": application["route_prefix"],
            "replicas": dict(Counter(each["state"] for each in replicas)),
        }
        told = self._told_by_rollout(application)
        return {**described, **told["status"]} if told else {**described, "rollout": "does not answer"}

    def _order(self, application: JsonObject, method: str, path: str, document: Any = None) -> bool:
        told = self._told_by_rollout(application)
        if told is None:
            return False
        try:
            answer = requests.request(
                method,
                told["admin"]["url"] + path,
                json=document,
                headers={"Authorization": f"Bearer {told['admin']['token']}"},
                timeout=_ORDER_TIMEOUT_S,
            )
        except requests.RequestException:
            return False  # the node cannot be reached from here, only the dashboard can
        if answer.status_code == 401:
            return False  # the file was that of a process which has ended
        if not answer.ok:
            raise ClusterError(f"{application['name']}: {answer.text.strip() or answer.reason}")
        return True

    def _told_by_rollout(self, application: JsonObject) -> JsonObject | None:
        """What the process of its roll-out has written last, by `serve.admin`; None where none runs."""
        replicas = application["deployments"].get(_ROLLOUT, {}).get("replicas", [])
        # It goes on while it is UPDATING, as after each order.
        process = next((each for each in replicas if each["state"] not in ("STARTING", "STOPPING")), None)
        if process is None:
            return None
        file = {"node_id": process["node_id"], "filename": f"serve/admin_{process['replica_id']}.json", "lines": -1}
        try:
            told = json.loads(self._client.text("GET", f"/api/v0/logs/file?{urlencode(file)}"))
        except (ClusterError, ValueError):
            return None
        return told if isinstance(told, dict) and {"admin", "status"} <= told.keys() else None


def endpoint_of(details: Mapping[str, Any]) -> Endpoint | None:
    """Where the applications are asked, by all that Ray Serve says of itself; None where it does not run."""
    http, grpc = details.get("http_options"), details.get("grpc_options") or {}
    if not (http and details["proxies"]):
        return None
    return Endpoint(http["host"], http["port"], grpc.get("port") if grpc.get("grpc_servicer_functions") else None)
