"""A real SeaweedFS of this machine, without a cluster."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster import loopback, server
from cluster.state import ClusterState
from cluster.store import Store


@contextmanager
def running_store(bucket: str) -> Iterator[dict[str, str]]:
    """A store with an empty bucket, while the context lasts; the variables that lead to it."""
    with tempfile.TemporaryDirectory(prefix="scenerec-store-", ignore_cleanup_errors=True) as home:
        state = ClusterState()
        store = Store(Path(home), Path(home), state.access_key, state.secret_key)
        state = server.launch(store, Path(home), state)
        try:
            server.await_ready(store, Path(home), state)
            ports = state.services["store"].ports
            store.make_buckets(ports, (bucket,))
            yield store.client_environment(ports) | loopback.no_proxy()
        finally:
            server.end(store, state)
