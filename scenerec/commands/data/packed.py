"""What the commands of `scenerec data` have in common."""

import json
from typing import Annotated

import typer
from pydantic import TypeAdapter

from cluster.environment import use_store_environment
from scenerec.commands import options
from scenerec.data.manifest import Manifest, read_manifest
from scenerec.storage import Storage, open_storage

Processes = Annotated[int | None, typer.Option(min=1, help="Processes on this machine; by default one per core.")]
Location = Annotated[str, typer.Argument(metavar="DATA", help="A packed set: a folder or s3://BUCKET/PREFIX.")]


def open_packed(location: str) -> tuple[Storage, Manifest]:
    """The packed set that was typed as DATA. Raises ConfigError, StorageError, DataError."""
    use_store_environment()
    storage = open_storage(options.location("DATA", location))
    return storage, read_manifest(storage)


def print_json(result: object) -> None:
    """Prints a dataclass or model as a line of JSON."""
    typer.echo(json.dumps(TypeAdapter(type(result)).dump_python(result, mode="json")))
