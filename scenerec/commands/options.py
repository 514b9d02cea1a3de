"""Options that several commands share."""

import re
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from scenerec.config.location import expand_location
from scenerec.errors import ConfigError

_OF_RUNS_AND_MODELS = (".json", ".yaml", ".safetensors", ".pb")

Address = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Dashboard of the cluster, such as http://HOST:8265. "
        "Without it: RAY_ADDRESS, else the embedded cluster of this machine.",
        show_default=False,
        rich_help_panel="Cluster",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
JobName = Annotated[str, typer.Argument(metavar="JOB", help="Id of a job, or a run: its name or its folder.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also what Ray and the frameworks print.")]
Labels = Annotated[
    list[str],
    typer.Option(
        "--label", metavar="NAME=VALUE", help="A label, such as team=vision. May be repeated.", rich_help_panel="Queue"
    ),
]
Overrides = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value of the file: optimize.lr=0.1. May be repeated."),
]


def panel(title: str) -> Callable[..., Any]:
    """Makes options as typer.Option does, that the help shows in a panel of this title."""
    return partial(typer.Option, rich_help_panel=title)


def either_of(names: Collection[str]) -> str:
    """The placeholder in the help of an option that takes one of some names: `<train|tune>`."""
    return f"<{'|'.join(names)}>"


def check_one_of(names: Collection[str]) -> Callable[[str | None], str | None]:
    """The callback of an option that takes one of some names, for names that are known only when the program runs."""

    def check(value: str | None) -> str | None:
        if value is not None and value not in names:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(names)}.")
        return value

    return check


def location(name: str, text: str) -> str:
    """A folder's or file's address as it was typed for `name`, expanded. Raises ConfigError that names it."""
    if not text:
        raise ConfigError(f"{name}: is empty: is a variable of the shell not set?")
    try:
        return expand_location(text)
    except ValueError as error:
        raise ConfigError(f"{name} {text}: {error}") from None


def local_path(name: str, typed: Path, when: str = "first") -> Path:
    """A file or folder of this machine as it was typed for `name`, expanded. Raises ConfigError that names it."""
    if address := re.match(r"([A-Za-z][A-Za-z0-9+.-]*):/(.*)", str(typed)):  # of whose slashes a path keeps one
        tool = " (scenerec cp)" if address[1] == "s3" else ""
        raise ConfigError(f"{name} {address[1]}://{address[2]}: must be on this machine: copy it {when}{tool}")
    return Path(location(name, str(typed)))


def is_location(text: str) -> bool:
    """Whether it is typed as the address of a folder, and not as a name that a cluster may know.

    A single word is one where a folder of that name is here, with files such as a run, a checkpoint or a bundle has.
    Where it has photographs alone, the word is the name of the run that was trained on them.
    """
    if "/" in text or text.startswith((".", "~", "$")):
        return True
    folder = Path(text)
    return folder.is_dir() and any(each.suffix in _OF_RUNS_AND_MODELS for each in folder.iterdir())
