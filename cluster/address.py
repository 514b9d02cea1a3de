"""Which cluster a command speaks to."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from cluster import environment, local
from scenerec.errors import ClusterError

TARGETS_PATH = "/api/prometheus/sd"
"""Path of the dashboard's list of what Prometheus is to scrape."""


@dataclass(frozen=True)
class Address:
    """Where the dashboard of a cluster is, and how it is reached."""

    url: str
    """Address of the form http://HOST:PORT."""
    embedded: bool = False
    """Whether this is the embedded cluster of this machine."""
    option: str = ""
    """What to add to a command line that shall reach the same cluster: " --address URL" or nothing."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """HTTP headers that the dashboard asks for."""


def find_address(address: str | None = None) -> Address:
    """Finds the cluster at `address`, else at $RAY_ADDRESS, else the embedded one.

    Raises ClusterError for an address that is no dashboard's, and where none is named and none is up.
    """
    cluster = local.find()
    given = address or os.environ.get("RAY_ADDRESS")
    if given and not (cluster and given.rstrip("/") in (cluster.dashboard_url, cluster.ray_address)):
        return _remote(given, "--address" if address else "RAY_ADDRESS")
    if cluster:
        return _embedded(cluster)
    raise ClusterError("no cluster: start one with `scenerec cluster up`, or name one by --address http://HOST:8265")


def find_or_start(address: str | None = None, say: Callable[[str], None] = lambda line: None) -> Address:
    """Finds the cluster as `find_address` does, but starts the embedded one where no other is named.

    `s3://` then means the same store to this process and to the workers of the embedded cluster; raises ClusterError
    where the environment names another.
    """
    if not (address or os.environ.get("RAY_ADDRESS") or local.find()):
        say("no cluster is up: starting an embedded one (end it with `scenerec cluster down`)")
        local.start(with_store=not environment.users_store_variable())
    found = find_address(address)
    if found.embedded and (cluster := local.find()):
        environment.check_workers_store(cluster)
        environment.use_store_environment()
    return found


def _embedded(cluster: local.LocalCluster) -> Address:
    token = cluster.environment["RAY_AUTH_TOKEN"]
    return Address(cluster.dashboard_url, embedded=True, headers={"Authorization": f"Bearer {token}"})


def _remote(given: str, source: str) -> Address:
    parts = urlsplit(given)
    if parts.scheme in ("http", "https") and parts.hostname:
        option = f" --address {given}" if source == "--address" else ""
        return Address(given.rstrip("/"), option=option, headers=_token_headers())
    host = parts.hostname if parts.scheme == "ray" else given.partition(":")[0]
    raise ClusterError(f"{source} {given}: must be the address of the dashboard, such as http://{host or 'HOST'}:8265")


def _token_headers() -> dict[str, str]:
    """What a cluster asks for that wants Ray's token: where the token is, Ray's variables say, as they do to Ray."""
    if os.environ.get("RAY_AUTH_MODE") != "token":
        return {}
    token = os.environ.get("RAY_AUTH_TOKEN")
    if not token:
        file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
        token = file.read_text().strip() if file.is_file() else None
    return {"Authorization": f"Bearer {token}"} if token else {}
