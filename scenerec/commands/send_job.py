"""Sending a job to the cluster, and waiting for what comes of it."""

import re
import tempfile
from pathlib import Path

import typer
from rich.console import Console

from cluster.client import ClusterClient
from cluster.queueing import QueueRequest
from cluster.run_record import run_environment
from cluster.runs import remember_output
from cluster.working_dir import commit_environment, copy_packages
from scenerec import __version__
from scenerec.commands.follow import exit_code, explain, farewell
from scenerec.commands.kinds import JobKind, is_run
from scenerec.commands.screen.live import tell
from scenerec.json_object import JsonObject


def job_name(act: str, url: str) -> str:
    """The name of a job that does something to what lies at `url`: `pack-places365`."""
    return f"{act}-" + re.sub("[^A-Za-z0-9._-]", "-", url.rpartition("/")[2])[:50]


def send_job(
    client: ClusterClient,
    kind: JobKind,
    name: str,
    config: str,
    run_url: str = "-",
    framework: str = "-",
    request: QueueRequest | None = None,
) -> str:
    """Starts a job on the cluster and returns its id.

    Args:
        client: the cluster.
        kind: says which module runs.
        name: of the run; the id is made from it.
        config: the content of its config.yaml, or of whatever file the module reads.
        run_url: the run's folder, for the cluster's list of jobs.
        framework: as the list shall show it.
        request: the job's place in the queue; None for one that is in none.
    """
    metadata = {"scenerec": __version__, "kind": kind.name, "framework": framework}
    variables = {}
    if request:
        metadata |= request.metadata()
    if is_run(kind.name):
        variables = run_environment(name, run_url, kind.name, framework, request) | commit_environment()
        remember_output(run_url.rpartition("/")[0])
    with tempfile.TemporaryDirectory(prefix="scenerec-") as folder:
        packages = copy_packages(Path(folder) / "code", kind.module)
        working_dir = Path(folder) / "config"
        working_dir.mkdir()
        (working_dir / "config.yaml").write_text(config, encoding="utf-8")
        entrypoint = f"python -m {kind.module} config.yaml"
        return client.submit(name, run_url, entrypoint, working_dir, metadata, variables, packages)


def run_job(
    client: ClusterClient,
    kind: JobKind,
    name: str,
    config: str,
    run_url: str = "-",
    framework: str = "-",
    is_quiet: bool = False,
) -> JsonObject:
    """Starts a job as `send_job` does, follows it to its end, and returns the result that it prints.

    Without a result it prints why, and leaves with the job's exit code. Ctrl-C leaves the job running.
    """
    job_id = send_job(client, kind, name, config, run_url, framework)
    if not is_quiet:
        typer.echo(f"job {job_id}, dashboard {client.address.url}", err=True)
    with farewell(client, job_id):
        story = tell(client.follow(job_id), Console(stderr=True, quiet=is_quiet), kind.view)
    if story.result is None:
        job = client.job(job_id)
        explain(job, story, client.address.option)
        raise typer.Exit(exit_code(job) or 1)
    return story.result
