"""What `make chaos` has measured, in tests/bench: a row a run in chaos.csv, a row a strike in chaos_strikes.csv.

docs/faults.md has a table of the latter, a line a fault.
"""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench.record import append_row, read_rows
from tests.chaos.plan import KINDS
from tests.chaos.report import Outcome
from tests.chaos.timeline import median_by_kind

RUNS, STRIKES = "chaos", "chaos_strikes"
DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"

_HEADING = """\
| Fault | Strikes | Median seconds to the next new step | Longest | Steps made again | Requests lost |
| --- | --- | --- | --- | --- | --- |
"""


def write_rows(figures: dict[str, Any], found: Sequence[Outcome]) -> Path:
    """Appends a run's figures and its strikes, and renews the table in the docs; returns the path of the figures.

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
    DOCUMENT.write_text(put_table(DOCUMENT.read_text(), make_table(read_rows(STRIKES))))
    return append_row(RUNS, {**figures, "recovery_s": json.dumps(medians)})


def make_table(rows: Sequence[Mapping[str, str]]) -> str:
    """A line for each fault of rows of chaos_strikes.csv, in Markdown."""
    lines = []
    for kind in KINDS:
        if of_kind := [row for row in rows if row["fault"] == kind.name]:
            seconds = [float(row["recovery_s"] or "inf") for row in of_kind]
            redone, lost = (sum(int(row[name]) for row in of_kind) for name in ("steps_redone", "requests_lost"))
            lines.append(
                f"| {kind.words[0].upper()}{kind.words[1:]} | {len(of_kind)} | {statistics.median(seconds):.0f} "
                f"| {max(seconds):.0f} | {redone / len(of_kind):.0f} | {lost} |\n"
            )
    return _HEADING + "".join(lines)


def put_table(document: str, table: str) -> str:
    """The document with another table in the place of the one of the same heading, which ends at an empty line."""
    before, heading, old = document.partition(_HEADING)
    if not heading:
        raise ValueError("the document has no table of strikes")
    return before + table + (f"\n{after}" if (after := f"\n{old}".partition("\n\n")[2]) else "")
