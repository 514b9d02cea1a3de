"""Which object store `s3://` means: the user's own where the environment names one, else the embedded one."""

import os

from cluster import local, loopback
from scenerec.errors import ClusterError
from scenerec.storage.s3_endpoint import endpoint_variable

_USERS_OWN = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ROLE_ARN")


def users_store_variable() -> str | None:
    """Names the first environment variable by which the user has chosen a store; None if there is none."""
    return next((name for name in _USERS_OWN if os.environ.get(name)), None)


def check_workers_store(cluster: local.LocalCluster) -> None:
    """Raises ClusterError where `s3://` means one store here and another to the workers of `cluster`."""
    variable = users_store_variable()
    if variable and cluster.store_url and not names_store_of(cluster):
        raise ClusterError(
            f"{variable} is set, but the workers of the embedded cluster use its own store: unset it, "
            "or let them use yours: `scenerec cluster down`, then `scenerec cluster up --no-store`"
        )


def names_store_of(cluster: local.LocalCluster) -> bool:
    """Whether the environment names the embedded store of `cluster` as that of `s3://`."""
    return endpoint_variable()[1].rstrip("/") == cluster.store_url


def use_store_environment() -> None:
    """Lets this process and its children reach the embedded store, if it is up and the user names no other.

    Every command that touches `s3://` calls it before it opens a storage.
    """
    if not users_store_variable() and (cluster := local.find()):
        variables = {name: value for name, value in cluster.environment.items() if name.startswith("AWS_")}
        os.environ.update({**variables, **loopback.no_proxy()})
