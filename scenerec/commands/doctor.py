"""`scenerec cluster doctor`: what is wrong with a cluster, and what to do about it."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from cluster.doctor.examine import versions
from cluster.doctor.finding import Client, Level, Line
from cluster.doctor.judge import judge
from cluster.doctor.report import ClusterReport, DoctorRequest
from scenerec.commands import options
from scenerec.commands.connect import connect
from scenerec.commands.kinds import DOCTOR
from scenerec.commands.send_job import run_job
from scenerec.errors import ConfigError

app = typer.Typer()


@app.command(
    epilog="Example: scenerec cluster doctor --address http://HEAD:8265 --store s3://scenes/doctor --all-reduce"
)
def doctor(
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Let each node write, read and remove an object of 8 MiB in this folder of a store.",
            show_default=False,
        ),
    ] = None,
    all_reduce: Annotated[
        bool, typer.Option("--all-reduce", help="Let all nodes add up numbers, as trainings do: by NCCL or Gloo.")
    ] = False,
    address: options.Address = None,
    as_json: options.Json = False,
) -> None:
    """Look at every node of a cluster, embedded or your own: what is wrong, and what to do about it.

    A job of some seconds looks at versions, GPUs and drivers, addresses, clocks,
    disk, shared memory, limits, access and open ports of each node.

    Exit code 1 where there is a fault; a warning is none.
    """
    client = connect(address)
    where = options.location("--store", store) if store is not None else None
    if where and not where.startswith("s3://") and client.address.option:
        raise ConfigError(f"--store {where}: must be in a store, such as s3://BUCKET/doctor")
    request = DoctorRequest(store=where and f"{where}/{secrets.token_hex(4)}", all_reduce=all_reduce)
    answer = run_job(client, DOCTOR, "doctor", request.model_dump_json(), is_quiet=True)
    lines = judge(ClusterReport.model_validate(answer), Client(versions(), client.address.url))
    if as_json:
        typer.echo(json.dumps({"findings": [asdict(line) for line in lines], "seen": answer}))
    else:
        _show(lines)
    if any(line.level is Level.FAULT for line in lines):
        raise typer.Exit(1)


def _show(lines: Sequence[Line]) -> None:
    for line in lines:
        where = f"  [{line.where}]" if line.nodes else ""
        typer.echo(f"{line.level:<8} {line.check:<11} {line.text}{where}")
        if line.remedy:
            typer.echo(f"{'':<20} {line.remedy}")
    faults, warnings = (sum(line.level is level for line in lines) for level in (Level.FAULT, Level.WARNING))
    typer.echo(f"{faults} fault{'s' * (faults != 1)}, {warnings} warning{'s' * (warnings != 1)}")
