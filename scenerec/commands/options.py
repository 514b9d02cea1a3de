"""Options that several commands share."""

from typing import Annotated

import typer

Address = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Dashboard of the cluster, such as http://HOST:8265. "
        "Without it: RAY_ADDRESS, else the embedded cluster of this machine.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
JobName = Annotated[str, typer.Argument(metavar="JOB", help="Id of a job, or name of a run: then its newest job.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also what Ray and the frameworks print.")]
Overrides = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value of the file: optimize.lr=0.1. May be repeated."),
]


def location(name: str, text: str) -> str:
    """A folder's or file's address as it was typed for `name`, expanded. Raises ConfigError that names it."""
    from scenerec.config import expand_location
    from scenerec.errors import ConfigError

    try:
        return expand_location(text)
    except ValueError as error:
        raise ConfigError(f"{name} {text}: {error}") from None
