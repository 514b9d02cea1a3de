"""A command that is a job of the cluster: sent, followed to its end, its result returned."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from cluster.client import ClusterClient


def run_job(
    client: "ClusterClient",
    name: str,
    module: str,
    request_json: str,
    kind: str,
    framework: str = "-",
    output: str = "-",
    is_quiet: bool = False,
) -> dict[str, Any]:
    """Runs `python -m MODULE` on the cluster with a file of `request_json`; returns the result that it prints.

    Without a result it prints why, and leaves with the job's exit code. Ctrl-C leaves the job running.
    """
    from rich.console import Console

    from cluster.working_dir import fill_working_dir
    from scenerec import __version__
    from scenerec.commands.follow import STOPPED_EXIT_CODE, exit_code
    from scenerec.commands.screen.live import tell

    with tempfile.TemporaryDirectory(prefix="scenerec-") as folder:
        fill_working_dir(Path(folder), request_json)
        metadata = {"scenerec": __version__, "kind": kind, "framework": framework}
        job_id = client.submit(name, output, f"python -m {module} config.yaml", Path(folder), metadata, env={})
    if not is_quiet:
        typer.echo(f"job {job_id}, dashboard {client.address.url}", err=True)
    where = f"{job_id}{client.address.option}"
    try:
        story = tell(client.follow(job_id), Console(stderr=True, quiet=is_quiet))
    except KeyboardInterrupt:
        typer.echo(f"{job_id} goes on. Follow it: scenerec logs -f {where}   Stop it: scenerec stop {where}", err=True)
        raise typer.Exit(STOPPED_EXIT_CODE) from None
    if story.result is None:
        for message in story.errors or [f"{job_id} ended without a result"]:
            typer.echo(f"error: {message}", err=True)
        typer.echo(f"the whole log: scenerec logs --verbose {where}", err=True)
        raise typer.Exit(exit_code(client.job(job_id)) or 1)
    return story.result
