"""The cluster that a command speaks to."""

import os

import typer

from cluster import environment, local
from cluster.address import find_address, find_or_start
from cluster.client import ClusterClient


def connect(address: str | None) -> ClusterClient:
    """The cluster at `address`, else at $RAY_ADDRESS, else the embedded one. Raises ClusterError where none is up."""
    return ClusterClient(find_address(address))


def connect_or_start(address: str | None) -> ClusterClient:
    """The cluster that is named, else the embedded one, which is started. `s3://` then means the workers' store."""
    return ClusterClient(find_or_start(address, say=lambda line: typer.echo(line, err=True)))


def connect_if_up(address: str | None) -> ClusterClient | None:
    """The cluster that is named, else the embedded one, None if it is down. `s3://` then means its store, if up."""
    environment.use_store_environment()
    if address or os.environ.get("RAY_ADDRESS") or local.find():
        return connect(address)
    return None
