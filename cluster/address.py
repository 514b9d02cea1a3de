"""Which cluster a command speaks to."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from cluster import local
from scenerec.errors import ClusterError


@dataclass(frozen=True)
class Address:
    """A cluster's dashboard."""

    url: str
    """http://HOST:PORT."""
    embedded: bool = False
    """Whether it is the embedded cluster of this machine."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """HTTP headers that it asks for."""


def find_address(address: str | None = None, home: Path | str | None = None) -> Address:
    """The cluster at `address`, else at $RAY_ADDRESS, else the embedded one.

    Raises ClusterError for an address that is no dashboard's, and where no cluster is named and none is up.
    """
    if given := address or os.environ.get("RAY_ADDRESS"):
        return _remote(given, "--address" if address else "RAY_ADDRESS", local.find(home))
    if cluster := local.find(home):
        return of_local(cluster)
    raise ClusterError(
        "no cluster: start one with `scenerec cluster up`, or name one by --address http://HOST:8265"
    )


def of_local(cluster: local.LocalCluster) -> Address:
    """The address of an embedded cluster."""
    token = cluster.environment["RAY_AUTH_TOKEN"]
    return Address(cluster.dashboard_url, embedded=True, headers={"Authorization": f"Bearer {token}"})


def _remote(given: str, source: str, cluster: local.LocalCluster | None) -> Address:
    if cluster and given.rstrip("/") in (cluster.dashboard_url, cluster.ray_address, "auto"):
        return of_local(cluster)
    parts = urlsplit(given)
    if parts.scheme in ("http", "https") and parts.hostname:
        return Address(given.rstrip("/"))
    host = parts.hostname if parts.scheme == "ray" else given.partition(":")[0]
    raise ClusterError(
        f"{source} {given}: scenerec needs the address of the dashboard, such as http://{host or 'HOST'}:8265"
    )
