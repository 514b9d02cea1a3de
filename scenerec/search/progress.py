"""The lines in which a search tells its log how it stands: `[trial]` and `[search]`, each with a JSON object."""

import json
import re
from dataclasses import asdict, dataclass
from math import inf, isfinite

_KIND = re.compile(r"^\[(trial|search)\] (\{.*\})\s*$")


@dataclass(frozen=True)
class TrialNews:
    """How a trial stands."""

    number: int
    state: str
    """running, finished, stopped, failed or refused."""
    epoch: int
    """Epochs done."""
    epochs: int
    """Epochs that it would run in all."""
    objective: str
    """Which value is meant, such as val_top1."""
    value: float | None
    """After the newest epoch."""
    best: float | None
    """The best so far."""
    point: str
    """What is tried, in words."""
    reason: str | None = None
    """Why it failed or was refused."""


@dataclass(frozen=True)
class SearchNews:
    """How the search stands."""

    ended: int
    trials: int
    running: int
    best_trial: int | None
    best: float | None
    objective: str
    epochs: float
    """Run by all trials, in epochs of the full resolution and data."""
    full_epochs: float
    """Of the same trials without early stopping."""
    eta_s: float
    """Seconds to the end of the search, infinite where it is not known."""


def format_news(news: TrialNews | SearchNews) -> str:
    """The line that `parse_news` reads back."""
    kind = "trial" if isinstance(news, TrialNews) else "search"
    values = {key: None if value == inf else value for key, value in asdict(news).items()}
    return f"[{kind}] {json.dumps(values)}"


def parse_news(line: str) -> TrialNews | SearchNews | None:
    """The news of a line of a log, None for other lines."""
    if not (found := _KIND.match(line)):
        return None
    try:
        values = json.loads(found.group(2))
        if found.group(1) == "trial":
            return TrialNews(**values)
        return SearchNews(**{**values, "eta_s": inf if values["eta_s"] is None else values["eta_s"]})
    except (TypeError, ValueError, KeyError):
        return None  # a line that was cut off


def format_value(objective: str, value: float | None) -> str:
    """`84.21%` for an accuracy, `1.234` for a loss, `5.3M` for parameters; "-" for none."""
    if value is None or not isfinite(value):
        return "-"
    if objective in ("val_top1", "val_top5"):
        return f"{value:.2%}"
    if objective == "parameters":
        return f"{value / 1e6:.1f}M"
    return f"{value:.2f} ms" if objective == "latency_ms" else f"{value:.4g}"
