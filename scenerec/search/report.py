"""The report of a search: one HTML file that loads nothing else, also while the search runs."""

from collections.abc import Sequence
from datetime import UTC, datetime

from scenerec import __version__
from scenerec.config.file import dump_config
from scenerec.config.space import describe_value, wanted_values
from scenerec.config.tune import TuneConfig
from scenerec.html import html_environment
from scenerec.job_log import format_duration
from scenerec.search import charts
from scenerec.search.best import best_config, best_trial
from scenerec.search.importance import importance
from scenerec.search.objectives import OBJECTIVES, format_value
from scenerec.search.parallel import parallel
from scenerec.search.plan import SEARCHERS, describe_scheduler
from scenerec.search.standing import leaderboard, pareto_front, savings
from scenerec.search.trial import Trial
from scenerec.search.trial_store import REPORT_FILE, SearchFolder

_TEMPLATE = "search_report.html.j2"
_ROWS_AT_ONCE = 25
_MOST_ROWS = 250
_MOST_REASONS = 20

_BUDGETS = {
    "epochs": "each trial is one run",
    "resolution": "smaller images first",
    "data": "fewer training shards first",
}


def write_report(folder: SearchFolder, config: TuneConfig, trials: Sequence[Trial]) -> None:
    """Writes report.html into the search's folder. Raises StorageError."""
    folder.storage.put(REPORT_FILE, render(config, trials).encode())


def render(config: TuneConfig, trials: Sequence[Trial]) -> str:
    """The report as HTML."""
    objectives = config.objective
    ranked = leaderboard(trials, objectives)
    best = best_trial(config, trials)
    front = pareto_front(trials, objectives) if len(objectives) > 1 else []
    paretos = [charts.pareto(ranked, front, objectives, other, best) for other in objectives[1:]]
    environment = html_environment("search")
    environment.filters |= {"value": describe_value}
    environment.globals |= {"shown": format_value, "named": lambda objective: OBJECTIVES[objective].name}
    return environment.get_template(_TEMPLATE).render(
        config=config,
        trials=trials,
        states=_STATES,
        counts={state: sum(trial.state == state for trial in trials) for state in _STATES},
        ended=sum(trial.is_ended for trial in trials),
        best=best,
        best_yaml=dump_config(best_config(config, best)) if best else None,
        front=front,
        front_numbers={trial.number for trial in front},
        rows=ranked[:_ROWS_AT_ONCE],
        more_rows=ranked[_ROWS_AT_ONCE:_MOST_ROWS],
        left_out=max(0, len(ranked) - _MOST_ROWS),
        columns=_columns(config),
        savings=savings(config, trials),
        duration=format_duration(sum(trial.time_s for trial in trials)),
        curves=charts.curves(ranked, objectives, best),
        parallel=parallel(config.search, ranked, objectives),
        paretos=[chart for chart in paretos if chart],
        drawn=min(len(ranked), charts.MOST_LINES),
        importance=importance(config, trials),
        ranges={field: _range(config, field) for field in config.search},
        reasons=_reasons(trials)[:_MOST_REASONS],
        other_reasons=len(_reasons(trials)[_MOST_REASONS:]),
        searcher=SEARCHERS[config.searcher],
        stopping=describe_scheduler(config),
        budget=_BUDGETS[config.budget.by],
        written_at=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        version=__version__,
    )


_STATES = ("running", "paused", "finished", "stopped", "failed", "refused")


def _columns(config: TuneConfig) -> list[tuple[str, str, bool]]:
    """(field, its last part, whether it holds numbers) of each parameter."""
    return [
        (field, field.rpartition(".")[2], all(type(value) in (int, float) for value in parameter.samples))
        for field, parameter in config.search.items()
    ]


def _range(config: TuneConfig, field: str) -> str:
    """`0.001 to 1, logarithmic; where schedule is step`: what a parameter may be."""
    parameter = config.search[field]
    if parameter.choice is not None:
        what = ", ".join(map(describe_value, parameter.choice))
    else:
        low, high = parameter.bounds
        step = f", by {parameter.step}" if parameter.step > 1 else ""
        what = f"{low:g} to {high:g}{step}{', logarithmic' if parameter.log_uniform else ''}"
    condition = " and ".join(
        f"{other.rpartition('.')[2]} is {' or '.join(map(describe_value, wanted_values(wanted)))}"
        for other, wanted in parameter.when.items()
    )
    return f"{what}; where {condition}" if condition else what


def _reasons(trials: Sequence[Trial]) -> list[tuple[str, str, list[int]]]:
    """(state, reason, trials) of what failed or was refused, the most frequent first."""
    numbers: dict[tuple[str, str], list[int]] = {}
    for trial in trials:
        if trial.state in ("failed", "refused"):
            numbers.setdefault((trial.state, trial.reason or "no reason is known"), []).append(trial.number)
    found = [(state, reason, members) for (state, reason), members in numbers.items()]
    return sorted(found, key=lambda each: -len(each[2]))
