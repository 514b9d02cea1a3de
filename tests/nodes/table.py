"""docs/faults.md: its table of what each fault costs, made by the tests where they are asked to keep it."""

from dataclasses import dataclass
from pathlib import Path

_HEADING = "| Fault | Framework | Outcome | Restarts | Longest time without a new step |"
_RULE = "| --- | --- | --- | --- | --- |"


@dataclass(frozen=True)
class Row:
    """What one fault came to."""

    fault: str
    framework: str
    outcome: str
    restarts: int
    seconds: float

    def __str__(self) -> str:
        return f"| {self.fault} | {self.framework} | {self.outcome} | {self.restarts} | {self.seconds:.0f} s |"


def keep(row: Row, file: Path) -> None:
    """Puts a row into the file's table, in the place of an older one of the same fault and framework."""
    before, heading, table = file.read_text().partition(_HEADING + "\n")
    assert heading, f"{file} has no table"
    rows, _, after = table.removeprefix(_RULE + "\n").partition("\n\n")
    kept = [
        line for line in rows.rstrip("\n").splitlines() if not line.startswith(f"| {row.fault} | {row.framework} |")
    ]
    lines = sorted([*kept, str(row)])
    file.write_text("\n".join([before + _HEADING, _RULE, *lines]) + "\n" + (f"\n{after}" if after else ""))
