"""The embedded cluster: a Ray node with its dashboard and an S3 store, on loopback, kept in one folder."""

import hashlib
import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cluster import loopback, server
from cluster.queueing import Limits
from cluster.ray_node import RayNode
from cluster.serve_proxy import CERTIFICATE, KEY
from cluster.state import ClusterState, NodeOptions, cluster_home, load_state, locked, save_state
from cluster.store import Store
from scenerec.errors import ClusterError

_RAY_ATTEMPTS = 3  # Ray ends a node that takes 30 s to register: too little beside other work on a small machine


@dataclass(frozen=True)
class LocalCluster:
    """An embedded cluster that is up."""

    home: Path
    """Folder of the cluster: cluster.json, logs and what the store holds."""
    dashboard_url: str
    """Address of the dashboard and of the Jobs API."""
    ray_address: str
    """HOST:PORT for `ray.init`."""
    store_url: str | None
    """Address of the embedded S3 server; None where the cluster uses the user's own store."""
    metrics_url: str
    """Address at which the node exports metrics for Prometheus."""
    discovery_file: Path
    """File that tells Prometheus what to scrape; its path stays when the cluster is started anew."""
    grafana_dashboards: Path
    """Folder of the dashboards for Grafana that Ray brings."""
    environment: dict[str, str] = field(repr=False)
    """Variables by which a program reaches node and store. They hold secrets."""
    options: NodeOptions = field(default_factory=NodeOptions)
    """What the node was started with."""


def start(
    home: Path | str | None = None,
    cpus: int | None = None,
    gpus: int | None = None,
    buckets: tuple[str, ...] = ("scenes",),
    object_store_mb: int | None = None,
    with_store: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> LocalCluster:
    """Starts what is not running yet and returns the cluster; what is up is left as it is.

    Args:
        home: folder of the cluster, by default $SCENEREC_HOME or ~/.scenerec.
        cpus: CPU cores that the node offers, by default those of the machine.
        gpus: GPUs that the node offers, by default those of the machine.
        buckets: buckets that must exist in the embedded store.
        object_store_mb: size of Ray's shared memory, by default 300 MB.
        with_store: whether to run the embedded store; else workers use the AWS variables of this process. A node that
            is up without it stays so.
        say: is told what happens.

    Raises:
        ClusterError: something does not start.
        ModuleNotFoundError: Ray is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise ModuleNotFoundError("Ray is not installed", name="ray")
    home = cluster_home(home)
    with locked(home):
        _make_temp_folder(home)
        state = load_state(home) or ClusterState()
        store = _store(home, state)
        if "store" not in state.services and server.is_up(_ray_node(home, state), state):
            with_store = False
        if with_store and not server.is_up(store, state):
            # The workers know the store by its address, which changes.
            server.end(_ray_node(home, state), state)
            server.end(store, state)
            say("starting the store")
            state = server.launch(store, home, state.without_service("ray"))
        elif not with_store and not server.is_up(store, state):
            state = state.without_service("store")
        ray_node = _ray_node(home, state, cpus, gpus)
        if not server.is_up(ray_node, state):
            server.end(ray_node, state)
            say("starting Ray")
            options = NodeOptions(
                object_store_mb=object_store_mb or NodeOptions().object_store_mb,
                tls_certificate=os.environ.get(CERTIFICATE) or None,
                tls_key=os.environ.get(KEY) or None,
                max_jobs=Limits.of_environment().max_jobs,
            )
            state = state.model_copy(update={"options": options})
            ray_node = _ray_node(home, state, cpus, gpus)
            state = server.launch(ray_node, home, state)
        if with_store:
            server.await_ready(store, home, state)
            store.make_buckets(state.services["store"].ports, buckets)
        state = server.await_ready(ray_node, home, state, _RAY_ATTEMPTS)
        return _describe(home, state)


def find(home: Path | str | None = None) -> LocalCluster | None:
    """Returns the cluster of `home` if all of it is up and answers, else None."""
    try:
        home = cluster_home(home)
    except ClusterError:
        return None  # who has no home can use what needs none
    state = load_state(home)
    if not state or "ray" not in state.services or not server.is_up(_ray_node(home, state), state):
        return None
    if "store" in state.services and not server.is_up(_store(home, state), state):
        return None
    return _describe(home, state)


def stop(home: Path | str | None = None, purge: bool = False) -> dict[str, int]:
    """Ends the cluster of `home` and nothing else; returns how many processes of which server were ended.

    What the store holds stays, unless `purge`.
    """
    home = cluster_home(home)
    if not home.exists():
        return {}
    with locked(home):
        state = load_state(home)
        ended = {}
        if state:
            ended = {each.name: server.end(each, state) for each in (_ray_node(home, state), _store(home, state))}
            save_state(home, state.without_service("ray").without_service("store"))
            shutil.rmtree(temp_folder(home), ignore_errors=True)
        if purge:
            for folder in ("store", "logs"):
                shutil.rmtree(home / folder, ignore_errors=True)
            for file in ("cluster.json", "identities.json"):
                (home / file).unlink(missing_ok=True)
        return {name: count for name, count in ended.items() if count}


def store_bytes(cluster: LocalCluster) -> int:
    """Counts the bytes on disk of everything in the embedded store."""
    state = load_state(cluster.home)
    return _store(cluster.home, state).used_bytes() if state else 0


def _store(home: Path, state: ClusterState) -> Store:
    return Store(home, temp_folder(home), state.access_key, state.secret_key)


def _ray_node(home: Path, state: ClusterState, cpus: int | None = None, gpus: int | None = None) -> RayNode:
    service = state.services.get("store")
    store_environment = _store(home, state).client_environment(service.ports) if service else {}
    return RayNode(temp_folder(home) / "ray", state.token, store_environment, cpus, gpus, state.options.object_store_mb)


def _describe(home: Path, state: ClusterState) -> LocalCluster:
    ray_node = _ray_node(home, state)
    ports = state.services["ray"].ports
    store = state.services.get("store")
    return LocalCluster(
        home=home,
        dashboard_url=ray_node.url(ports),
        ray_address=f"127.0.0.1:{ports['gcs']}",
        store_url=_store(home, state).url(store.ports) if store else None,
        metrics_url=ray_node.metrics_url(ports),
        discovery_file=ray_node.discovery_file,
        grafana_dashboards=ray_node.grafana_dashboards,
        environment={**ray_node.client_environment(), **ray_node.store_environment, **loopback.no_proxy()},
        options=state.options,
    )


def temp_folder(home: Path) -> Path:
    """Returns the folder of sockets and Ray's sessions: a socket's path has at most 107 bytes, `home` may be long."""
    return Path(f"/tmp/scenerec-{os.getuid()}-{hashlib.sha256(bytes(home)).hexdigest()[:8]}")


def _make_temp_folder(home: Path) -> None:
    folder = temp_folder(home)
    folder.mkdir(mode=0o700, exist_ok=True)
    owner = folder.lstat()
    if folder.is_symlink() or owner.st_uid != os.getuid() or owner.st_mode & 0o077:
        raise ClusterError(f"{folder}: belongs to another user or is open to others: remove it")
