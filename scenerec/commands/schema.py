"""`scenerec schema`: what a file may hold."""

from typing import Annotated, Literal

import typer


def schema(
    kind: Annotated[Literal["train", "tune", "serve"], typer.Option(help="Of which kind of file.")] = "train",
) -> None:
    """Print the JSON Schema of a file, by which editors complete and check it."""
    from scenerec.config.file import config_schema

    typer.echo(config_schema(kind))
