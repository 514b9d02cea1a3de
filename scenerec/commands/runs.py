"""`scenerec runs`: the training runs of a store beside each other."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated

import typer

from cluster.environment import use_store_environment
from cluster.job import Job
from cluster.runs import runs_in
from scenerec.commands import options
from scenerec.commands.kinds import job_kind
from scenerec.commands.known_jobs import KnownJobs
from scenerec.commands.screen.job_table import show_rows
from scenerec.errors import CheckpointError, ConfigError, StorageError
from scenerec.json_object import JsonObject
from scenerec.training.run_overview import RunOverview, differing, read_overview, setting_words, short_keys
from scenerec.training.task import METRICS, scores

app = typer.Typer()

_READERS = 16
_OWN_COLUMNS = ("started", "name", "status", "best")


@dataclass(frozen=True)
class _Run:
    """A run, its newest job, and what its folder tells."""

    job: Job
    overview: RunOverview

    def value(self, key: str) -> object:
        """What it is sorted by; None where it has none."""
        best = self.overview.best
        match key:
            case "started":
                return self.job.started_s
            case "name" | "status":
                return getattr(self.job, key)
            case "best":
                metric = self.overview.task.best
                return metric.towards_better(best.validation[metric.key]) if best else None
            case _:
                return self.overview.settings.get(key, best.as_dict().get(key) if best else None)


@app.command(epilog="Examples: scenerec runs | scenerec runs s3://scenes/runs --sort best | scenerec runs --json")
def runs(
    where: Annotated[
        str | None, typer.Argument(metavar="[OUTPUT]", help="A folder of runs. Without it: all that are known here.")
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            metavar="KEY",
            help="started, name, status, best, a metric (val_loss) or a setting (optimize.lr); best first.",
        ),
    ] = "started",
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    address: options.Address = None,
    as_json: options.Json = False,
) -> None:
    """Show training runs beside each other: state, best epoch, and the settings in which they differ.

    Searches are left out: `scenerec tune show` compares their trials.
    """
    use_store_environment()
    found = _sorted(_read(_jobs(where, address)), sort, reverse)
    keys = differing(run.overview for run in found)
    if as_json:
        typer.echo(json.dumps([_json(run, keys) for run in found]))
    elif found:
        show_rows([("RUN", "STATUS", "EPOCHS", "BEST", *short_keys(keys)), *(_row(run, keys) for run in found)])
    else:
        typer.echo(f"no training runs{f' in {where}' if where else ''} yet: scenerec submit train.yaml")


def _jobs(where: str | None, address: str | None) -> list[Job]:
    """The newest job of each training run, the newest first."""
    known = KnownJobs(address) if where is None else None
    if known:
        jobs = known.all()
    else:
        url = options.location("OUTPUT", str(where))
        jobs = sorted(runs_in(url), key=lambda job: job.started_s, reverse=True)
    newest = {job.run_url: job for job in reversed(jobs) if job_kind(job.kind).has_epochs}
    return list(reversed(newest.values()))


def _read(jobs: Sequence[Job]) -> list[_Run]:
    """Those whose folder can be read; of the others it is said why not."""
    with ThreadPoolExecutor(_READERS, thread_name_prefix="runs") as threads:
        return [run for run in threads.map(_opened, jobs) if run]


def _opened(job: Job) -> _Run | None:
    try:
        return _Run(job, read_overview(job.run_url))
    except (CheckpointError, ConfigError, StorageError) as error:
        typer.echo(f"left out: {error}", err=True)
        return None


def _sorted(found: list[_Run], key: str, reverse: bool) -> list[_Run]:
    """By a key, those that lack it last. Raises ConfigError where all of several lack it."""
    having = [run for run in found if run.value(key) is not None]
    if found and not having and key not in _OWN_COLUMNS:
        known = {name for run in found for name in run.overview.settings}
        raise ConfigError(f"--sort {key}: no run has it: known are {', '.join([*_OWN_COLUMNS, *sorted(known)])}")
    largest_first = key in ("started", "best") or (key in METRICS and METRICS[key].is_maximised)
    having.sort(key=lambda run: _rank(run.value(key)), reverse=largest_first != reverse)
    return [*having, *(run for run in found if run.value(key) is None)]


def _rank(value: object) -> tuple[bool, float, str]:
    """Numbers before words."""
    return (False, float(value), "") if isinstance(value, (int, float)) else (True, 0.0, str(value))


def _row(run: _Run, keys: Sequence[str]) -> tuple[str, ...]:
    overview, best = run.overview, run.overview.best
    shown = ", ".join(f"{metric.name} {metric.show(value)}" for metric, value in scores(best.as_dict())) if best else ""
    settings = [setting_words(overview.settings.get(key)) for key in keys]
    return (run.job.run_url, run.job.status, f"{len(overview.history)}/{overview.epochs}", shown, *settings)


def _json(run: _Run, keys: Sequence[str]) -> JsonObject:
    overview = run.overview
    return {
        "run": run.job.run_url,
        "name": run.job.name,
        "status": run.job.status,
        "started_s": run.job.started_s,
        "epochs_done": len(overview.history),
        "epochs": overview.epochs,
        "best": json.loads(overview.best.model_dump_json()) if overview.best else None,
        "last": json.loads(overview.history[-1].model_dump_json()) if overview.history else None,
        "differs": {key: overview.settings.get(key) for key in keys},
    }
