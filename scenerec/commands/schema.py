"""`scenerec schema`: what a file may hold."""

from typing import Annotated

import typer

from scenerec.config.file import KINDS, config_schema

app = typer.Typer()


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise typer.BadParameter(f"{kind!r} is not one of {', '.join(KINDS)}.")
    return kind


@app.command(epilog="Example: scenerec schema > train.schema.json\n\nExample: scenerec schema --kind tune")
def schema(
    kind: Annotated[
        str,
        typer.Option(metavar=f"<{'|'.join(KINDS)}>", help="Of which kind of file.", callback=_known),
    ] = "train",
) -> None:
    """Print the JSON Schema of a file, by which editors complete and check it."""
    typer.echo(config_schema(kind))
