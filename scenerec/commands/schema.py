"""`scenerec schema`: what a file may hold."""

import typer


def schema() -> None:
    """Print the JSON Schema of train.yaml, by which editors complete and check it."""
    from scenerec.config_file import config_schema

    typer.echo(config_schema())
