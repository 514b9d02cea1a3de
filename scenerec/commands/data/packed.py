"""What the commands of `scenerec data` have in common."""

import json
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter

from cluster.environment import use_store_environment
from scenerec.commands import options
from scenerec.data.manifest import Manifest, read_manifest
from scenerec.storage import Storage, open_storage

Processes = Annotated[int | None, typer.Option(min=1, help="Processes on this machine; by default one per core.")]
CoordinateTable = Annotated[
    Path | None,
    typer.Option(
        "--coordinates",
        metavar="FILE.csv",
        help="Pack where, and perhaps when, images were taken, from a table: file,latitude,longitude,time.",
        rich_help_panel="Coordinates",
    ),
]
CoordinatesFromExif = Annotated[
    bool,
    typer.Option(
        "--coordinates-from-exif",
        help="Pack where and when images were taken, from their EXIF, which is then taken out as always.",
        rich_help_panel="Coordinates",
    ),
]
Location = Annotated[str, typer.Argument(metavar="DATA", help="A packed set: a folder or s3://BUCKET/PREFIX.")]


def open_packed(location: str) -> tuple[Storage, Manifest]:
    """The packed set that was typed as DATA. Raises ConfigError, StorageError, DataError."""
    use_store_environment()
    storage = open_storage(options.location("DATA", location))
    return storage, read_manifest(storage)


def print_json(result: object) -> None:
    """Prints a dataclass or model as a line of JSON."""
    typer.echo(json.dumps(TypeAdapter(type(result)).dump_python(result, mode="json")))
