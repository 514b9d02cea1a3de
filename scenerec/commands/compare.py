"""`scenerec compare`: a few training runs in detail, with their curves, and whether they differ by more than chance."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cluster.environment import use_store_environment
from scenerec.commands import options
from scenerec.commands.evaluate import evaluate_here
from scenerec.commands.known_jobs import KnownJobs
from scenerec.commands.results import result_file, write_result
from scenerec.commands.screen.job_table import show_rows
from scenerec.data.packed_set import open_set
from scenerec.errors import ConfigError
from scenerec.inference.evaluation.report import write_outcome
from scenerec.inference.evaluation.request import EvaluationRequest, Subject, own_data, run_output
from scenerec.json_object import JsonObject
from scenerec.training.run_overview import RunOverview, differing, read_overview, setting_words
from scenerec.training.run_report import render, run_figures
from scenerec.training.run_significance import Ranking, best_answers, rank

app = typer.Typer()


@app.command(
    epilog="Example: scenerec compare photos photos-tf --report compared.html\n\n"
    "Example: scenerec compare photos photos-tf --evaluate"
)
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs: by name, or their folders.")],
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a page with their curves.", show_default=False)
    ] = None,
    evaluate: Annotated[
        bool,
        typer.Option(
            "--evaluate",
            help="First evaluate the best checkpoints that have not answered to the first run's validation set, here.",
        ),
    ] = False,
    address: options.Address = None,
    as_json: options.Json = False,
) -> None:
    """Compare training runs: figures, the settings in which they differ, and their curves as a page.

    Of runs whose best checkpoints have answered to the same set (RUN/evaluations, which --evaluate fills), it is said
    whether they differ by more than chance. Of one run the page is what its folder has as report.html since its end.
    """
    page = result_file("--report", report)
    use_store_environment()
    found = [read_overview(url, in_full=True) for url in _addresses(runs, address)]
    if evaluate:
        _evaluate(found)
    keys, ranking = differing(found), rank(found)
    if page:
        write_result(page, render(found, ranking))
    if as_json:
        typer.echo(json.dumps([_json(number, run, keys, ranking) for number, run in enumerate(found)]))
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
    if ranking:
        typer.echo(f"\n{ranking.samples:,} images of {ranking.data}:")
        for ranked in ranking.runs:
            typer.echo(f"{ranked.top1:>9.2%}  {found[ranked.run].name}  {ranked.words}".rstrip())
    elif len(found) > 1:
        typer.echo("whether the difference is more than chance: the same with --evaluate")
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


def _evaluate(runs: Sequence[RunOverview]) -> None:
    """Lets each best checkpoint answer to the first run's validation set, where it has not; the run's folder keeps it.

    Raises what an evaluation raises.
    """
    data = own_data(runs[0].url)
    if open_set(data).manifest.is_multilabel:
        raise ConfigError(f"--evaluate: tells by single classes, and {data} has several labels: leave it out")
    fingerprint = open_set(data).manifest.fingerprint
    for run in runs:
        if not any((each.fingerprint, each.crops) == (fingerprint, 1) for each in best_answers(run)):
            request = EvaluationRequest(subject=Subject(target=run.url), data=data)
            request = request.model_copy(update={"output": run_output(request)})
            typer.echo(f"{run.name} answers to {data}", err=True)
            write_outcome(evaluate_here(request), str(request.output))


def _json(number: int, run: RunOverview, keys: list[str], ranking: Ranking | None) -> JsonObject:
    history = [json.loads(epoch.model_dump_json()) for epoch in run.history]
    differs = {key: run.settings.get(key) for key in keys}
    told: JsonObject = {"run": run.url, "figures": run_figures(run), "differs": differs, "history": history}
    if ranking and (ranked := next((each for each in ranking.runs if each.run == number), None)):
        compared = asdict(ranked.against_best) if ranked.against_best else None
        found = {"data": ranking.data, "samples": ranking.samples, "top1": ranked.top1, "against_best": compared}
        told["significance"] = {**found, "words": ranked.words}
    return told
