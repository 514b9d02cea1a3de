"""`scenerec schema`: what a file may hold."""

from typing import Annotated

import typer

from scenerec.commands import options
from scenerec.config.file import KINDS, config_schema

app = typer.Typer()


@app.command(epilog="Example: scenerec schema > train.schema.json\n\nExample: scenerec schema --kind tune")
def schema(
    kind: Annotated[
        str,
        typer.Option(
            metavar=options.either_of(KINDS), callback=options.check_one_of(KINDS), help="Of which kind of file."
        ),
    ] = "train",
) -> None:
    """Print the JSON Schema of a file, by which editors complete and check it."""
    typer.echo(config_schema(kind))
