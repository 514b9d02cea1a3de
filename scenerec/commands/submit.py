"""`scenerec submit`: a YAML file becomes a job on a cluster."""

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from scenerec.commands import options

if TYPE_CHECKING:
    from cluster.client import ClusterClient
    from scenerec.config.train import TrainConfig
    from scenerec.config.tune import TuneConfig
    from scenerec.search.plan import SearchPlan
    from scenerec.training.preflight import Preflight

    Config = TrainConfig | TuneConfig


def submit(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="The job: train.yaml, or tune.yaml for a search.", show_default=False),
    ] = None,
    overrides: options.Overrides = [],  # noqa: B006 - typer copies it
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="In place of FILE: go on with this run, from its own config.yaml and its newest checkpoint. "
            "Its folder (s3:// or local), or its name where this cluster has run it.",
            show_default=False,
        ),
    ] = None,
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
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Of a search: train the best config in full at its end, and export it.")
    ] = False,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Run a training job, or a search for a better one, on a cluster and follow it to its end.

    Without a cluster, an embedded one is started on this machine.

    The job is checked against its data and the cluster before it starts.

    Ctrl-C leaves it running. An interrupted run, submitted again or named
    by --resume, goes on from its newest checkpoint, if you like in the
    other framework or on another number of workers. A search goes on with
    the trials that it has not finished.
    """
    from scenerec.commands.resume import resumed_config
    from scenerec.config.file import load_job

    _refuse_contradictions(file, resume, restart)
    connect = partial(_client_if_up if dry_run else _client, address)
    config = resumed_config(resume, overrides, connect) if resume else load_job(cast(Path, file), overrides)
    if retrain:
        config = _with_retraining(config)
    client = connect()
    preflight = _check(config, client, cluster_check, restart)
    if dry_run or client is None:
        _show_plan(preflight, as_json, to_stderr=False)
        return
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


def _refuse_contradictions(file: Path | None, resume: str | None, restart: bool) -> None:
    from scenerec.errors import ConfigError

    if not resume and file is None:
        raise ConfigError("which job? give its FILE, such as train.yaml, or --resume RUN to go on with a run")
    if resume and file is not None:
        raise ConfigError(
            f"{file}: a run that is resumed has its own config.yaml: leave out FILE (--set changes single values), "
            "or leave out --resume: a FILE of the run's name and output goes on as well"
        )
    if resume and restart:
        raise ConfigError("--restart deletes what --resume goes on from: leave out one of them")


def _with_retraining(config: "Config") -> "Config":
    from scenerec.config.tune import RetrainConfig
    from scenerec.errors import ConfigError

    if config.kind != "tune":
        raise ConfigError("--retrain: belongs to a search (kind: tune)")
    return config if config.retrain else config.model_copy(update={"retrain": RetrainConfig()})


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


def _check(
    config: "Config", client: "ClusterClient | None", cluster_check: bool, restart: bool
) -> "Preflight | SearchPlan":
    """The one place where config, data, earlier results and cluster meet before a job starts."""
    from scenerec.search.plan import check_search
    from scenerec.training.plan import NodeResources
    from scenerec.training.preflight import check_job

    nodes = [NodeResources(node.cpus, node.gpus) for node in client.nodes()] if client and cluster_check else None
    if config.kind == "tune":
        return check_search(config, nodes, restart)
    return check_job(config, nodes, restart)


def _refuse_second_writer(client: "ClusterClient", config: "Config") -> None:
    """Two jobs that write the same run would ruin each other's checkpoints."""
    from scenerec.errors import ClusterError

    for job in client.jobs():
        if job.run_url == config.run_url and not job.ended:
            where = client.address.option
            raise ClusterError(
                f"job {job.id} is writing {config.run_url} now ({job.status}): give the new one another name, "
                f"follow that one (scenerec logs -f {job.id}{where}) or end it (scenerec stop {job.id}{where})"
            )


def _clear(config: "Config") -> None:
    from scenerec.training.run_folder import RunFolder

    RunFolder(config.run_url).clear()


def _send(client: "ClusterClient", config: "Config") -> str:
    from cluster.working_dir import fill_working_dir
    from scenerec import __version__
    from scenerec.config.file import dump_config

    metadata = {"scenerec": __version__, "kind": config.kind, "framework": _framework(config)}
    with tempfile.TemporaryDirectory(prefix="scenerec-") as folder:
        fill_working_dir(Path(folder), dump_config(config))
        entrypoint = f"python -m jobs.{config.kind} config.yaml"
        return client.submit(config.name, config.run_url, entrypoint, Path(folder), metadata, env={})


def _framework(config: "Config") -> str:
    if config.kind == "train":
        return config.framework
    searched = config.search["framework"].choice if "framework" in config.search else None
    return " or ".join(searched or (config.base.framework,))


def _show_plan(preflight: "Preflight | SearchPlan", as_json: bool, to_stderr: bool) -> None:
    if as_json:
        typer.echo(json.dumps(preflight.as_dict()))
        return
    for what, value in preflight.rows():
        typer.echo(f"{what:<9} {value}", err=to_stderr)


def _show_job(client: "ClusterClient", job_id: str, config: "Config", as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"job": job_id, "run": config.run_url, "dashboard": client.address.url}))
        return
    where = client.address.option
    typer.echo(f"job {job_id}, dashboard {client.address.url}")
    typer.echo(f"follow it: scenerec logs -f {job_id}{where}")
