"""`scenerec cluster`: the embedded cluster of this machine."""

import json
import os
import re
import shlex
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cluster import environment, local, serve_proxy
from cluster.address import TARGETS_PATH
from cluster.client import ClusterClient, Node
from cluster.local import LocalCluster, store_bytes
from cluster.queueing import MAX_JOBS, Limits
from scenerec.commands import options
from scenerec.commands.connect import connect
from scenerec.commands.results import local_folder
from scenerec.errors import ClusterError, ConfigError
from scenerec.json_object import JsonObject

app = typer.Typer()

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")

_size, _store, _tls = map(options.panel, ("Size", "Store", "TLS"))


@app.command(epilog="Example: scenerec cluster up --cpus 4 --bucket models")
def up(
    cpus: Annotated[
        int | None, _size(min=1, help="CPU cores to offer; all of them by default.", show_default=False)
    ] = None,
    gpus: Annotated[int | None, _size(min=0, help="GPUs to offer; all of them by default.", show_default=False)] = None,
    bucket: Annotated[
        list[str], _store(metavar="NAME", help="A bucket to create beside `scenes`. May be repeated.")
    ] = [],  # noqa: B006
    object_store_mb: Annotated[
        int | None, _size(min=80, help="Shared memory of Ray, in MB; 300 by default.", show_default=False)
    ] = None,
    max_jobs: Annotated[
        int | None,
        _size(
            min=1,
            help="Trainings and searches that run at once; others wait. Any number by default.",
            show_default=False,
        ),
    ] = None,
    no_store: Annotated[bool, _store("--no-store", help="Use the store that the AWS variables name.")] = False,
    tls_certificate: Annotated[
        Path | None, _tls(metavar="FILE", help="PEM: what is served speaks TLS alone, by this certificate.")
    ] = None,
    tls_key: Annotated[Path | None, _tls(metavar="FILE", help="PEM: the certificate's key.")] = None,
    as_json: options.Json = False,
) -> None:
    """Start the cluster; what is up already is left as it is.

    An option that it is not up with is refused: end it first.

    It listens on 127.0.0.1 only, but for TensorFlow's workers while several train.

    Everything lies in ~/.scenerec, or where SCENEREC_HOME says.
    """
    for name in bucket:
        if not _BUCKET.fullmatch(name):
            raise ConfigError(f"--bucket {name}: must be 3 to 63 small letters, digits, dots and dashes")
    _use_certificate(tls_certificate, tls_key)
    if max_jobs:
        os.environ[MAX_JOBS] = str(max_jobs)  # the node inherits it, and each job's process reads it
    variable = environment.users_store_variable()
    with_store = not (no_store or variable)
    if is_up := local.find():
        _refuse_changes(is_up, cpus, gpus, object_store_mb, no_store)
    elif variable and not no_store:
        typer.echo(f"{variable} is set: s3:// means that store, and no embedded one is started", err=True)
    if bucket and not (is_up.store_url if is_up else with_store):
        raise ClusterError(f"--bucket {bucket[0]}: this cluster has no store of its own: make it in yours")
    started = time.monotonic()
    cluster = local.start(
        cpus=cpus,
        gpus=gpus,
        buckets=("scenes", *bucket),
        object_store_mb=object_store_mb,
        with_store=with_store,
        say=lambda line: typer.echo(line, err=True),
    )
    nodes = connect(cluster.dashboard_url).nodes()
    _show(cluster, nodes, as_json)
    typer.echo(f"up after {time.monotonic() - started:.1f} s", err=True)


@app.command(epilog="Example: scenerec cluster down --purge")
def down(
    purge: Annotated[bool, typer.Option("--purge", help="Also delete what the store holds, and the logs.")] = False,
    as_json: options.Json = False,
) -> None:
    """End the cluster, and nothing else. What the store holds stays."""
    ended = local.stop(purge=purge)
    if as_json:
        typer.echo(json.dumps({"ended": ended, "purged": purge}))
        return
    for name, count in ended.items():
        typer.echo(f"ended {name} ({count} process{'es' if count > 1 else ''})")
    if not ended:
        typer.echo("nothing was running")
    if purge:
        typer.echo("deleted the store and the logs")


@app.command(epilog="Example: scenerec cluster status --json")
def status(address: options.Address = None, as_json: options.Json = False) -> None:
    """Show nodes, resources and addresses of the cluster that `submit` would use; of the embedded one, its store too.

    Exit code 1 when no cluster is named and the embedded one is down.
    """
    cluster = local.find()
    if cluster is None and not (address or os.environ.get("RAY_ADDRESS")):
        typer.echo(json.dumps({"up": False}) if as_json else "down; start it: scenerec cluster up")
        raise typer.Exit(1)
    client = connect(address)
    if cluster and client.address.embedded:
        _show(cluster, client.nodes(), as_json)
    else:
        _show_named(client, "--address" if address else "RAY_ADDRESS", as_json)


@app.command(epilog='Example: eval "$(scenerec cluster env)"; aws s3 ls s3://scenes')
def env(as_json: options.Json = False) -> None:
    """Print the variables by which other programs reach the cluster and its store. They hold secrets."""
    cluster = local.find()
    if cluster is None:
        raise ClusterError("the embedded cluster is down; start it with `scenerec cluster up`")
    if as_json:
        typer.echo(json.dumps(cluster.environment))
        return
    for name, value in cluster.environment.items():
        typer.echo(f"export {name}={shlex.quote(value)}")


@app.command(name="serve-env", epilog='Example, on every node: eval "$(scenerec cluster serve-env)"; ray start ...')
def serve_env(
    folder: Annotated[
        Path, typer.Option(metavar="FOLDER", help="For the proxy's sockets and configuration: a short path.")
    ] = Path("/tmp/scenerec-proxy"),
) -> None:
    """Print the variables by which a node of your own cluster serves quickly and loses no request of a killed replica.

    They count when Ray starts, on every node. The embedded cluster has them already.
    """
    folder = local_folder("--folder", folder)
    if len(str(folder)) > serve_proxy.LONGEST_FOLDER:
        raise ConfigError(f"--folder {folder}: sockets go there: at most {serve_proxy.LONGEST_FOLDER} characters")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, value in serve_proxy.environment(folder, launcher=serve_proxy.write_launcher(folder)).items():
        typer.echo(f"export {name}={shlex.quote(value)}")


def _use_certificate(certificate: Path | None, key: Path | None) -> None:
    """The node inherits it, and its proxy reads it when something is served."""
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        raise ClusterError("--tls-certificate and --tls-key go together: give both")
    certificate = options.local_path("--tls-certificate", certificate)
    key = options.local_path("--tls-key", key)
    serve_proxy.check_certificate(certificate, key)
    os.environ[serve_proxy.CERTIFICATE] = str(certificate)
    os.environ[serve_proxy.KEY] = str(key)


def _refuse_changes(
    cluster: LocalCluster, cpus: int | None, gpus: int | None, object_store_mb: int | None, no_store: bool
) -> None:
    """Raises ClusterError where more is asked for than what the cluster is up with."""
    node, started_with = connect(cluster.dashboard_url).nodes()[0], cluster.options
    wishes: list[tuple[str, object, object]] = [
        ("--cpus", cpus, node.cpus),
        ("--gpus", gpus, node.gpus),
        ("--object-store-mb", object_store_mb, started_with.object_store_mb),
        ("--max-jobs", Limits.of_environment().max_jobs, started_with.max_jobs),
        ("--tls-certificate", os.environ.get(serve_proxy.CERTIFICATE) or None, started_with.tls_certificate),
        ("--tls-key", os.environ.get(serve_proxy.KEY) or None, started_with.tls_key),
    ]
    changes = [f"{option} {wanted}" for option, wanted, found in wishes if wanted not in (None, found)]
    if no_store and cluster.store_url:
        changes.append("--no-store")
    if changes:
        raise ClusterError(
            f"{' '.join(changes)}: the cluster is up already, without that: end it and its jobs with "
            "`scenerec cluster down` (what the store holds stays), and start it anew"
        )


def _show(cluster: LocalCluster, nodes: list[Node], as_json: bool) -> None:
    stored = store_bytes(cluster) if cluster.store_url else 0
    if as_json:
        facts: JsonObject = {
            "up": True,
            "embedded": True,
            "home": str(cluster.home),
            "dashboard_url": cluster.dashboard_url,
            "ray_address": cluster.ray_address,
            "metrics_url": cluster.metrics_url,
            "store_url": cluster.store_url,
            "store_bytes": stored,
            "nodes": [asdict(node) for node in nodes],
        }
        typer.echo(json.dumps(facts))
        return
    typer.echo(f"dashboard  {cluster.dashboard_url}  (asks for RAY_AUTH_TOKEN: see `scenerec cluster env`)")
    typer.echo(f"ray        {cluster.ray_address}")
    store = (
        f"{cluster.store_url}  ({stored / 1e6:,.1f} MB)"
        if cluster.store_url
        else "none: the AWS variables of `up` count"
    )
    typer.echo(f"store      {store}")
    typer.echo(f"metrics    {cluster.metrics_url}  (dashboards and alerts: scenerec cluster monitoring FOLDER)")
    _show_nodes(nodes)
    typer.echo(f"folder     {cluster.home}")


def _show_named(client: ClusterClient, source: str, as_json: bool) -> None:
    url, nodes, lost = client.address.url, client.nodes(), client.lost_nodes()
    metrics_url = f"{url}{TARGETS_PATH}"
    if as_json:
        facts: JsonObject = {
            "up": True,
            "embedded": False,
            "dashboard_url": url,
            "metrics_url": metrics_url,
            "nodes": [asdict(node) for node in nodes],
            "lost_nodes": lost,
        }
        typer.echo(json.dumps(facts))
        return
    typer.echo(f"dashboard  {url}  (named by {source}: not this machine's embedded cluster)")
    monitoring = f"scenerec cluster monitoring FOLDER{client.address.option}"
    typer.echo(f"metrics    {metrics_url}  (lists their addresses; dashboards and alerts: {monitoring})")
    _show_nodes(nodes)
    for address in lost:
        typer.echo(f"lost       {address}  is gone for good: start Ray on it again, unless it was meant to go")


def _show_nodes(nodes: list[Node]) -> None:
    for node in nodes:
        gpus = f", {node.gpus_used:g} of {node.gpus:g} GPU" if node.gpus else ""
        memory = f"{node.memory_bytes / 1e9:.1f} GB memory" + (", head" if node.is_head and len(nodes) > 1 else "")
        typer.echo(f"node       {node.address}  {node.cpus_used:g} of {node.cpus:g} CPU{gpus} in use, {memory}")
