"""`scenerec cluster monitoring`: the files for Prometheus and Grafana."""

import json
from pathlib import Path
from typing import Annotated

import typer

from cluster import local
from cluster.address import find_address
from cluster.monitoring.files import GRAFANA_URL, PROMETHEUS_URL, Targets, start_commands, write_files
from scenerec.commands import options
from scenerec.commands.results import local_folder

app = typer.Typer()


@app.command(epilog="Example: scenerec cluster monitoring ~/monitoring")
def monitoring(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the files go.", show_default=False)],
    address: options.Address = None,
    replace: Annotated[bool, typer.Option("--replace", help="Write files anew that are there already.")] = False,
    as_json: options.Json = False,
) -> None:
    """Write what Prometheus and Grafana need to watch a cluster: targets, alert rules, dashboards.

    The embedded cluster has the same files after it was started anew.
    """
    place = local_folder("FOLDER", folder).absolute()
    found, cluster = find_address(address), local.find()
    if found.embedded and cluster:
        targets = Targets(discovery_file=cluster.discovery_file, ray_dashboards=cluster.grafana_dashboards)
    else:
        token = found.headers.get("Authorization", "").removeprefix("Bearer ")
        targets = Targets(dashboard_url=found.url, token=token)
    written = write_files(place, targets, replace)
    commands = start_commands(place)
    if as_json:
        typer.echo(json.dumps({"files": [str(path) for path in written], "commands": commands}))
        return
    for path in written:
        typer.echo(f"wrote {path}")
    typer.echo("start them (each keeps its terminal):")
    for command in commands:
        typer.echo(f"  {command}")
    typer.echo(f"then see {GRAFANA_URL}/dashboards, and {PROMETHEUS_URL}/alerts")
