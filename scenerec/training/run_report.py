"""The report of a training run, or of several beside each other: one HTML file that loads nothing else."""

from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median

from scenerec import __version__
from scenerec.html import html_environment
from scenerec.inference.evaluation.label_figures import hardest_first
from scenerec.inference.predictors.predictor import DEFAULT_THRESHOLD
from scenerec.storage import Patience
from scenerec.training.run_charts import COLOURS, run_charts
from scenerec.training.run_folder import REPORT_FILE, RunFolder
from scenerec.training.run_overview import RunOverview, differing, read_overview, setting_words, short_keys
from scenerec.training.run_significance import Ranking
from scenerec.training.task import VAL_LOSS, scores

_TEMPLATE = "run_report.html.j2"


def write_report(run_url: str, patience: Patience) -> str:
    """Writes the report of a run into its folder, and returns its address. Raises as `read_overview` does."""
    folder = RunFolder(run_url, patience)
    folder.storage.put(REPORT_FILE, render([read_overview(run_url, patience, in_full=True)]).encode())
    return f"{folder.url}/{REPORT_FILE}"


def render(runs: Sequence[RunOverview], ranking: Ranking | None = None) -> str:
    """The report as HTML, of one run or of several, with what is known of the chance in their differences."""
    figures = [run_figures(run) for run in runs]
    keys = differing(runs)
    environment = html_environment("training")
    environment.filters |= {"words": setting_words}
    return environment.get_template(_TEMPLATE).render(
        runs=runs,
        one=runs[0] if len(runs) == 1 else None,
        labels=hardest_first(runs[0].labels) if len(runs) == 1 else [],
        threshold=DEFAULT_THRESHOLD,
        figures=figures,
        columns=list(dict.fromkeys(column for row in figures for column in row)),
        charts=run_charts([(run.history, run.steps) for run in runs]),
        colours=[min(number, COLOURS) for number in range(len(runs))],
        ranking=ranking,
        keys=list(zip(keys, short_keys(keys), strict=True)),
        written_at=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        version=__version__,
    )


def run_figures(run: RunOverview) -> dict[str, str]:
    """What a run came to, by what it is, in words: its best epoch, its speed, how often its workers began."""
    best, history = run.best, run.history
    found = {"epochs": f"{len(history)} of {run.epochs}"}
    if best:
        found |= {metric.name: metric.show(value) for metric, value in scores(best.as_dict())}
        found |= {"best epoch": str(best.epoch), "validation loss": VAL_LOSS.show(best.validation[VAL_LOSS.key])}
        found["images/s"] = f"{median(epoch.images_per_s for epoch in history):,.0f}"
        waits = [epoch.data_wait for epoch in history if epoch.data_wait is not None]
        found["data wait"] = f"{median(waits):.1%}" if waits else "-"
        found["workers"] = str(history[-1].workers)
    return found | ({"starts": str(run.starts)} if run.starts else {})
