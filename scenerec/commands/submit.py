"""`scenerec submit`: a YAML file becomes a job on a cluster."""

import json
from functools import partial
from pathlib import Path
from typing import Annotated, cast

import typer

from cluster.client import ClusterClient
from cluster.queueing import QueueRequest
from scenerec.commands import options
from scenerec.commands.connect import connect_if_up, connect_or_start
from scenerec.commands.follow import follow
from scenerec.commands.free_run import await_free_run
from scenerec.commands.kinds import Plan, file_kind
from scenerec.commands.queue_options import jobs_before, parse_labels, queue_request, with_queue_options
from scenerec.commands.resume import resumed_config
from scenerec.commands.send_job import send_job
from scenerec.config.file import dump_config, load_job
from scenerec.config.job import JobConfig
from scenerec.errors import ConfigError
from scenerec.models.weights.licences import accept_licences
from scenerec.training.plan import NodeResources
from scenerec.training.run_folder import RunFolder

app = typer.Typer()

_earlier, _cluster, _queue = map(options.panel, ("Earlier results", "Cluster", "Queue"))


@app.command(
    epilog="Example: scenerec submit train.yaml --set optimize.lr=0.1\n\n"
    "Example: scenerec submit tune.yaml --set trials=24 --retrain\n\n"
    "Example: scenerec submit --resume s3://scenes/runs/NAME --set framework=tensorflow\n\n"
    "Example: scenerec submit train.yaml --priority 5 --after places365-resnet50 --label team=vision"
)
def submit(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="The job: train.yaml, pretrain.yaml, probe.yaml, or tune.yaml for a search.",
            show_default=False,
        ),
    ] = None,
    overrides: options.Overrides = [],  # noqa: B006 - typer copies it
    resume: Annotated[
        str | None,
        _earlier(
            metavar="RUN",
            help="In place of FILE: go on with this run, from its own config.yaml and its newest checkpoint. "
            "Its folder (s3:// or local), or its name where this cluster has run it.",
            show_default=False,
        ),
    ] = None,
    address: options.Address = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not follow the job.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the plan.")] = False,
    restart: Annotated[bool, _earlier("--restart", help="Delete what the run has written, and begin anew.")] = False,
    cluster_check: Annotated[
        bool, _cluster(help="Refuse a job that needs more than the cluster has now; off for one that grows by itself.")
    ] = True,
    priority: Annotated[
        int | None,
        _queue(
            min=-1000,
            max=1000,
            help="Where the cluster limits its jobs, those of a higher number go first. Also job.priority.",
            show_default=False,
        ),
    ] = None,
    after: Annotated[
        list[str],
        _queue(metavar="JOB", help="Begin when this job, by its id or its run's name, has succeeded. May be repeated."),
    ] = [],  # noqa: B006
    label: options.Labels = [],  # noqa: B006
    accept_licence: Annotated[
        bool,
        typer.Option(
            "--accept-licence",
            help="You have read the licence of the job's weights, and accept it, where its owner asks for that.",
        ),
    ] = False,
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
    _refuse_contradictions(file, resume, restart)
    labels = parse_labels(label)
    if accept_licence:
        accept_licences()
    before = jobs_before(connect_if_up(address), after) if after else ()
    connect = partial(connect_if_up if dry_run else connect_or_start, address)
    config = resumed_config(resume, overrides, connect, address) if resume else load_job(cast(Path, file), overrides)
    if retrain:
        config = _with_retraining(config)
    config = with_queue_options(config, priority, labels)
    client = connect()
    kind = file_kind(config)
    nodes = [NodeResources(node.cpus, node.gpus) for node in client.nodes()] if client and cluster_check else None
    plan = kind.check(config, nodes, restart)
    if dry_run or client is None:
        _show_plan(plan, as_json, to_stderr=False)
        return
    await_free_run(client, config.run_url)
    if restart:
        RunFolder(config.run_url).clear()
    _show_plan(plan, as_json=False, to_stderr=as_json)
    job_id = start_job(client, config, queue_request(config, before))
    if detach:
        _show_job(client, job_id, config, as_json)
        return
    typer.echo(f"job {job_id}, dashboard {client.address.url}", err=as_json)
    follow(client, job_id, as_json, verbose)


def start_job(client: ClusterClient, config: JobConfig, request: QueueRequest) -> str:
    """Starts the job of a config that has been checked, at a run that is free, and returns its id."""
    kind = file_kind(config)
    return send_job(client, kind, config.name, dump_config(config), config.run_url, kind.framework(config), request)


def _refuse_contradictions(file: Path | None, resume: str | None, restart: bool) -> None:
    if not resume and file is None:
        raise ConfigError("which job? give its FILE, such as train.yaml, or --resume RUN to go on with a run")
    if resume and file is not None:
        raise ConfigError(
            f"{file}: a run that is resumed has its own config.yaml: leave out FILE (--set changes single values), "
            "or leave out --resume: a FILE of the run's name and output goes on as well"
        )
    if resume and restart:
        raise ConfigError("--restart deletes what --resume goes on from: leave out one of them")


def _with_retraining(config: JobConfig) -> JobConfig:
    with_retraining = file_kind(config).with_retraining
    if with_retraining is None:
        raise ConfigError("--retrain: belongs to a search (kind: tune)")
    return with_retraining(config)


def _show_plan(plan: Plan, as_json: bool, to_stderr: bool) -> None:
    if as_json:
        typer.echo(json.dumps(plan.as_dict()))
        return
    for what, value in plan.rows():
        typer.echo(f"{what:<9} {value}", err=to_stderr)


def _show_job(client: ClusterClient, job_id: str, config: JobConfig, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"job": job_id, "run": config.run_url, "dashboard": client.address.url}))
        return
    where = client.address.option
    typer.echo(f"job {job_id}, dashboard {client.address.url}")
    typer.echo(f"follow it: scenerec logs -f {job_id}{where}")
