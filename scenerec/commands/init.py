"""`scenerec init FOLDER`: a train.yaml for a folder of photographs, with the reasons of its values."""

import json
from pathlib import Path
from typing import Annotated

import typer

from scenerec.commands import options
from scenerec.commands.chosen_training import ChosenTraining
from scenerec.commands.connect import connect_if_up
from scenerec.commands.data.packed import Processes
from scenerec.commands.results import result_file, write_result
from scenerec.commands.train import Arch, Data, Framework, Minutes, Name, NestedFolders, Output, Settings, Splits
from scenerec.commands.wishes import DEFAULT_MINUTES, DEFAULT_OUTPUT, Wishes
from scenerec.errors import ConfigError

app = typer.Typer()


@app.command(
    epilog="Example: scenerec init photos/\n\nExample: scenerec init s3://scenes/photos -o photos.yaml --minutes 120"
)
def init(
    data: Data,
    file: Annotated[Path, typer.Option("--file", "-o", metavar="FILE", help="The file to write.")] = Path("train.yaml"),
    minutes: Minutes = DEFAULT_MINUTES,
    framework: Framework = None,
    arch: Arch = None,
    overrides: Settings = [],  # noqa: B006 - typer copies it
    name: Name = None,
    output: Output = DEFAULT_OUTPUT,
    splits: Splits = None,
    nested: NestedFolders = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a FILE that is there.")] = False,
    processes: Processes = None,
    address: options.Address = None,
    as_json: options.Json = False,
) -> None:
    """Write a train.yaml for a folder of photographs or a packed set, with a reason above each value.

    Chooses as `scenerec train` does, and starts nothing. Of a folder it says
    the command that packs it; `scenerec submit FILE` then trains.
    """
    path = result_file("-o", file)
    assert path is not None
    if path.exists() and path.is_file() and not overwrite:
        raise ConfigError(f"-o {file}: is there already: name another file, or --overwrite")
    client = connect_if_up(address)
    wishes = Wishes(data, minutes, name, output, framework, arch, tuple(overrides), splits, nested, processes)
    chosen = ChosenTraining(wishes, "init")
    chosen.choose(client, file)
    chosen.write_division()
    write_result(path, chosen.text)
    pack = chosen.pack_command
    if as_json:
        typer.echo(json.dumps({"file": str(path), "pack": pack, "config": chosen.config.model_dump(mode="json")}))
        return
    for line in chosen.data.lines:
        typer.echo(line)
    typer.echo(f"written: {file}")
    typer.echo("\nnext:" + (f"\n  {pack}" if pack else "") + f"\n  scenerec submit {file}")
