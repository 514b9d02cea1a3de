"""`scenerec tune`: what a search has found, while it runs and afterwards."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cluster.environment import use_store_environment
from scenerec.commands import options
from scenerec.commands.known_jobs import KnownJobs
from scenerec.commands.results import result_file, write_result
from scenerec.commands.screen.live_search import STYLES, retrained_words
from scenerec.config.file import dump_config
from scenerec.config.space import describe_point
from scenerec.config.tune import TuneConfig
from scenerec.errors import CheckpointError
from scenerec.json_object import JsonObject
from scenerec.search.best import best_config, best_trial
from scenerec.search.importance import Importance, importance
from scenerec.search.objectives import OBJECTIVES
from scenerec.search.report import render
from scenerec.search.standing import leaderboard, pareto_front, savings
from scenerec.search.trial import Trial
from scenerec.search.trial_store import BEST_CONFIG_FILE, REPORT_FILE, SearchFolder

app = typer.Typer()

Run = Annotated[
    str,
    typer.Argument(metavar="RUN", help="The search's folder (s3:// or local), or its name where a cluster has run it."),
]


@app.command(
    epilog="Example: scenerec tune show s3://scenes/runs/photos-search --top 20\n\n"
    "Example: scenerec tune show photos-search --report search.html"
)
def show(
    run: Run,
    top: Annotated[int, typer.Option(min=1, metavar="N", help="Trials of the leaderboard to list.")] = 10,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write the report as it stands, one file with its charts, here."),
    ] = None,
    address: options.Address = None,
    as_json: options.Json = False,
) -> None:
    """Show how a search stands: leaderboard, importance of each parameter, what stopping early has saved.

    It may still run. Its report and its best config are in its folder when it is over.
    """
    report = result_file("--report", report)
    folder = _open(run, address)
    config, trials = folder.read_config(), folder.trials()
    ranked = leaderboard(trials, config.objective)
    found = importance(config, trials)
    is_over = all(trial.is_ended for trial in trials) and folder.read_result() is not None
    if as_json:
        typer.echo(json.dumps(_document(folder, config, ranked, found, is_over)))
    else:
        _print_standing(folder, config, ranked, found, is_over, top)
    if report:
        write_result(report, render(config, trials))
        typer.echo(f"report      {report}", err=as_json)


@app.command(
    name="config",
    epilog="Example: scenerec tune config photos-search > train.yaml\n\n"
    "Example: scenerec tune config s3://scenes/runs/photos-search --trial 7",
)
def print_config(
    run: Run,
    trial: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Of this trial.", show_default="the best so far")
    ] = None,
    address: options.Address = None,
) -> None:
    """Print the best config, or a trial's, as a train.yaml to be submitted."""
    folder = _open(run, address)
    config, trials = folder.read_config(), folder.trials()
    if trial is None:
        chosen = best_trial(config, trials)
        if chosen is None:
            raise CheckpointError(f"{folder.url}: no trial has a value yet: wait, or name one by --trial N")
    else:
        chosen = next((each for each in trials if each.number == trial), None)
        if chosen is None:
            raise CheckpointError(f"{folder.url}: has no trial {trial}; `scenerec tune show` lists them")
    try:
        job = best_config(config, chosen, "best" if trial is None else f"trial-{trial}")
    except ValueError as error:
        raise CheckpointError(
            f"{folder.url}: the values of trial {chosen.number} do not fit each other: {error}"
        ) from None
    typer.echo(dump_config(job), nl=False)


def _open(run: str, address: str | None) -> SearchFolder:
    """The folder of `run`. Raises ConfigError, ClusterError."""
    use_store_environment()
    if options.is_location(run):
        return SearchFolder(options.location("RUN", run))
    return SearchFolder(KnownJobs(address).find(run).run_url)


def _document(
    folder: SearchFolder, config: TuneConfig, ranked: Sequence[Trial], found: Importance, is_over: bool
) -> JsonObject:
    """All that is known, for scripts; trials from the best on."""
    saved, best = savings(config, ranked), best_trial(config, ranked)
    front = pareto_front(ranked, config.objective) if len(config.objective) > 1 else []
    return {
        "search": folder.url,
        "over": is_over,
        "objective": list(config.objective),
        "trials": [_trial(config, trial) for trial in ranked],
        "best": best.number if best else None,
        "pareto": [trial.number for trial in front],
        "importance": found.shares,
        "importance_missing": found.reason,
        "epochs": round(saved.epochs, 2),
        "full_epochs": round(saved.full_epochs, 2),
        "savings": str(saved),
        **{"report": None, "config": None, **_files(folder, is_over)},
    }


def _trial(config: TuneConfig, trial: Trial) -> JsonObject:
    known = trial.model_dump(mode="json", exclude={"history", "static"})
    return {**known, "values": {objective: trial.value(objective) for objective in config.objective}}


def _files(folder: SearchFolder, is_over: bool) -> dict[str, str]:
    """The addresses of what a search leaves, by what it is; none while it runs."""
    files = {"report": REPORT_FILE, "config": BEST_CONFIG_FILE} if is_over else {}
    return {what: f"{folder.url}/{file}" for what, file in files.items() if folder.storage.size(file) is not None}


def _print_standing(
    folder: SearchFolder, config: TuneConfig, ranked: Sequence[Trial], found: Importance, is_over: bool, top: int
) -> None:
    console = Console()
    ended = sum(trial.is_ended for trial in ranked)
    typer.echo(f"{folder.url}: {ended} of {config.trials} trials ended{', the search is over' if is_over else ''}\n")
    if not ranked:
        typer.echo("no trial has begun yet")
        return
    console.print(_leaderboard(config, ranked, top))
    if len(ranked) > top:
        typer.echo(f"and {len(ranked) - top} more: --top {len(ranked)}")
    typer.echo(f"\nimportance  {found.reason or ''}".rstrip())
    width = max(len(field) for field in config.search)
    for field, share in found.shares.items():
        typer.echo(f"  {field:<{width}}  {share:>4.0%}  {'█' * round(20 * share)}".rstrip())
    if found.shares and found.is_rough:
        typer.echo(f"  (of {found.trials} trials: roughly)")
    typer.echo(f"\nsavings     {savings(config, ranked)}")
    for what, where in _files(folder, is_over).items():
        typer.echo(f"{what:<11} {where}")
    if retrained := (folder.read_result() or {}).get("retrained"):
        typer.echo(f"retrained   {retrained_words(retrained)}")
    if not is_over:
        typer.echo(f"best so far scenerec tune config {folder.url}")


def _leaderboard(config: TuneConfig, ranked: Sequence[Trial], top: int) -> Table:
    several = len(config.objective) > 1
    front = {trial.number for trial in pareto_front(ranked, config.objective)} if several else set()
    table = Table(box=None, pad_edge=False)
    for heading in ("TRIAL", "STATE", *(OBJECTIVES[each].name.upper() for each in config.objective), "EPOCHS", "WHAT"):
        is_text = heading in ("STATE", "WHAT")
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=heading != "WHAT", overflow="fold")
    for trial in ranked[:top]:
        values = [OBJECTIVES[objective].show(trial.value(objective)) for objective in config.objective]
        what = describe_point(trial.point) + (f": {trial.reason}" if trial.reason else "")
        state = trial.state + (", front" if trial.number in front else "")
        epochs = f"{trial.epochs_done}/{trial.epochs}"
        table.add_row(str(trial.number), Text(state, STYLES[trial.state]), *values, epochs, Text(what))
    return table
