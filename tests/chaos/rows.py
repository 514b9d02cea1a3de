"""What `make chaos` has measured, in tests/bench: a row a run in chaos.csv, a row a strike in chaos_strikes.csv."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.record import append_row
from tests.chaos.report import Outcome
from tests.chaos.timeline import median_by_kind

RUNS, STRIKES = "chaos", "chaos_strikes"


def write_rows(figures: dict[str, Any], found: Sequence[Outcome]) -> Path:
    """Appends a run's figures and its strikes; returns the path of the former.

    The medians of the seconds to recover, by kind of fault, are added to the figures.
    """
    recovered = [(each.strike.kind.name, each.recovery_s) for each in found if each.recovery_s is not None]
    medians = {kind: round(seconds, 1) for kind, seconds in median_by_kind(recovered).items()}
    for each in found:
        append_row(
            STRIKES,
            {
                "seed": figures["seed"],
                "minutes": figures["minutes"],
                "framework": figures["framework"],
                "workers": figures["workers"],
                "strike": each.strike.number,
                "at_step": each.strike.at_step,
                "fault": each.strike.kind.name,
                "rank": each.strike.rank,
                "lasts_s": each.strike.lasts_s,
                "recovery_s": "" if each.recovery_s is None else f"{each.recovery_s:.1f}",
                "steps_redone": each.redone,
                "requests_refused": each.refused,
                "requests_lost": each.lost,
            },
        )
    return append_row(RUNS, {**figures, "recovery_s": json.dumps(medians)})
