"""`scenerec models`: what `model.arch` can be."""

import dataclasses
import json

import typer

from scenerec.commands import options


def models(as_json: options.Json = False) -> None:
    """List the architectures, which train in either framework."""
    from rich.console import Console
    from rich.table import Table

    from scenerec.models.zoo import ARCHITECTURES

    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(each) for each in ARCHITECTURES.values()]))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("ARCHITECTURE", no_wrap=True)
    for heading in ("PARAMETERS", "GFLOPS", "IMAGE SIZE"):
        table.add_column(heading, justify="right")
    for each in ARCHITECTURES.values():
        size = f"{each.image_size} only" if each.fixed_image_size else str(each.image_size)
        table.add_row(each.name, f"{each.parameters / 1e6:.1f} M", f"{each.gflops:.2f}", size)
    Console().print(table)
