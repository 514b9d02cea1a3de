"""`scenerec compare`: a few training runs in detail, with their curves."""

import json
from pathlib import Path
from typing import Annotated

import typer

from cluster.environment import use_store_environment
from scenerec.commands import options
from scenerec.commands.known_jobs import KnownJobs
from scenerec.commands.results import result_file, write_result
from scenerec.commands.screen.job_table import show_rows
from scenerec.errors import ConfigError
from scenerec.json_object import JsonObject
from scenerec.training.run_overview import RunOverview, differing, read_overview, setting_words
from scenerec.training.run_report import render, run_figures

app = typer.Typer()


@app.command(epilog="Example: scenerec compare photos photos-tf --report compared.html")
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs: by name, or their folders.")],
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a page with their curves.", show_default=False)
    ] = None,
    address: options.Address = None,
    as_json: options.Json = False,
) -> None:
    """Compare training runs: figures, the settings in which they differ, and their curves as a page.

    Of one run the page is what its folder has as report.html since its end.
    """
    page = result_file("--report", report)
    use_store_environment()
    found = [read_overview(url, with_steps=page is not None) for url in _addresses(runs, address)]
    keys = differing(found)
    if page:
        write_result(page, render(found))
    if as_json:
        typer.echo(json.dumps([_json(run, keys) for run in found]))
        return
    figures = [run_figures(run) for run in found]
    names = list(dict.fromkeys(name for row in figures for name in row))
    show_rows(
        [
            ("RUN", *(run.name for run in found)),
            *((name, *(row.get(name, "-") for row in figures)) for name in names),
            *((key, *(setting_words(run.settings.get(key)) for run in found)) for key in keys),
        ]
    )
    if len(found) == 2:
        urls = " --compare ".join(run.url for run in found)
        typer.echo(f"whether the difference is more than chance: scenerec evaluate {urls}")
    if page:
        typer.echo(f"report: {page}")


def _addresses(runs: list[str], address: str | None) -> list[str]:
    """The folders of runs. Raises ConfigError for one that is named twice, ClusterError for a name that is unknown."""
    known = None if all("/" in run for run in runs) else KnownJobs(address)
    urls = [
        options.location("RUN", run).rstrip("/") if known is None or "/" in run else known.find(run).run_url
        for run in runs
    ]
    if twice := next((url for url in urls if urls.count(url) > 1), None):
        raise ConfigError(f"{twice}: is named twice")
    return urls


def _json(run: RunOverview, keys: list[str]) -> JsonObject:
    history = [json.loads(epoch.model_dump_json()) for epoch in run.history]
    differs = {key: run.settings.get(key) for key in keys}
    return {"run": run.url, "figures": run_figures(run), "differs": differs, "history": history}
