"""`scenerec submit`: a YAML file becomes a job on a cluster."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scenerec.commands import options

if TYPE_CHECKING:
    from cluster.client import ClusterClient
    from scenerec.config import TrainConfig
    from scenerec.preflight import Preflight


def submit(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The job, such as train.yaml.")],
    overrides: options.Overrides = [],  # noqa: B006 - typer copies it
    address: options.Address = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not follow the job.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the plan.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Delete what the run has written, and begin anew.")
    ] = False,
    cluster_check: Annotated[
        bool,
        typer.Option(help="Refuse a job that needs more than the cluster has now; off for one that grows by itself."),
    ] = True,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Run a job on a cluster and follow it to its end.

    Without a cluster, an embedded one is started on this machine.

    The job is checked against its data and the cluster before it starts.

    Ctrl-C leaves it running. An interrupted run, submitted again, goes on
    from its newest checkpoint.
    """
    from scenerec.config_file import load_config

    config = load_config(file, overrides)
    if dry_run:
        _show_plan(_check(config, _client_if_up(address), cluster_check, restart), as_json, to_stderr=False)
        return
    client = _client(address)
    preflight = _check(config, client, cluster_check, restart)
    _refuse_second_writer(client, config)
    if restart:
        _clear(config)
    _show_plan(preflight, as_json=False, to_stderr=as_json)
    job_id = _send(client, config)
    if detach:
        _show_job(client, job_id, config, as_json)
        return
    from scenerec.commands.follow import follow

    typer.echo(f"job {job_id}, dashboard {client.address.url}", err=as_json)
    follow(client, job_id, as_json, verbose)


def _client(address: str | None) -> "ClusterClient":
    from cluster.address import find_or_start
    from cluster.client import ClusterClient

    return ClusterClient(find_or_start(address, say=lambda line: typer.echo(line, err=True)))


def _client_if_up(address: str | None) -> "ClusterClient | None":
    """For --dry-run, which starts nothing."""
    import os

    from cluster import environment, local
    from cluster.address import find_address
    from cluster.client import ClusterClient

    environment.use_store_environment()
    if address or os.environ.get("RAY_ADDRESS") or local.find():
        return ClusterClient(find_address(address))
    return None


def _check(config: "TrainConfig", client: "ClusterClient | None", cluster_check: bool, restart: bool) -> "Preflight":
    """The one place where config, data, earlier results and cluster meet before a job starts."""
    from scenerec.plan import NodeResources
    from scenerec.preflight import check_job

    nodes = [NodeResources(node.cpus, node.gpus) for node in client.nodes()] if client and cluster_check else None
    return check_job(config, nodes, restart)


def _refuse_second_writer(client: "ClusterClient", config: "TrainConfig") -> None:
    """Two jobs that write the same run would ruin each other's checkpoints."""
    from scenerec.errors import ClusterError

    for job in client.jobs():
        if job.run_url == config.run_url and not job.ended:
            where = client.address.option
            raise ClusterError(
                f"job {job.id} is writing {config.run_url} now ({job.status}): give the new one another name, "
                f"follow that one (scenerec logs -f {job.id}{where}) or end it (scenerec stop {job.id}{where})"
            )


def _clear(config: "TrainConfig") -> None:
    from scenerec.training.run_folder import RunFolder

    RunFolder(config.run_url).clear()


def _send(client: "ClusterClient", config: "TrainConfig") -> str:
    from cluster.bundle import fill_working_dir
    from scenerec import __version__
    from scenerec.config_file import dump_config

    metadata = {"scenerec": __version__, "kind": config.kind, "framework": config.framework}
    with tempfile.TemporaryDirectory(prefix="scenerec-") as folder:
        fill_working_dir(Path(folder), dump_config(config))
        entrypoint = "python -m jobs.train config.yaml"
        return client.submit(config.name, config.run_url, entrypoint, Path(folder), metadata, env={})


def _show_plan(preflight: "Preflight", as_json: bool, to_stderr: bool) -> None:
    plan = preflight.plan
    if as_json:
        typer.echo(json.dumps({**plan.as_dict(), "resumes_at": preflight.resumes_at}))
        return
    rows = plan.rows()
    if preflight.resumes_at is not None:
        rows.append(("resumes", f"after step {preflight.resumes_at} of {plan.total_steps}"))
    for what, value in rows:
        typer.echo(f"{what:<9} {value}", err=to_stderr)


def _show_job(client: "ClusterClient", job_id: str, config: "TrainConfig", as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"job": job_id, "run": config.run_url, "dashboard": client.address.url}))
        return
    where = client.address.option
    typer.echo(f"job {job_id}, dashboard {client.address.url}")
    typer.echo(f"follow it: scenerec logs -f {job_id}{where}")
