"""`scenerec validate`: is a file a job, or an application?"""

import json
from pathlib import Path
from typing import Annotated

import typer

from scenerec.commands import options
from scenerec.config.file import dump_config, parse_any
from scenerec.config.yaml_text import read_text

app = typer.Typer()


@app.command(epilog="Example: scenerec validate train.yaml --set optimize.lr=0.1")
def validate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file, of any kind.")],
    overrides: options.Overrides = [],  # noqa: B006 - typer copies it
    as_json: options.Json = False,
) -> None:
    """Check a YAML file, without data or cluster, and print it with every default filled in."""
    config = parse_any(read_text(file), str(file), overrides)
    typer.echo(json.dumps(config.model_dump(mode="json")) if as_json else dump_config(config), nl=as_json)
