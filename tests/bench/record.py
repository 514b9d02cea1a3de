"""One row a run, or one row a subject: date, commit, hardware, figures."""

import csv
import datetime
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from scenerec.models.status import STATUS_FILE, Status, read_status
from scenerec.models.zoo import architecture


def append_row(name: str, figures: dict[str, object]) -> Path:
    """Appends `figures` to NAME.csv beside this file and returns its path."""
    path = _path(name)
    row = {**_origin(), **figures}
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)
    return path


def read_rows(name: str) -> list[dict[str, str]]:
    """The rows of NAME.csv, none where it does not exist."""
    path = _path(name)
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def put_row(name: str, key: str, figures: dict[str, object]) -> Path:
    """Writes `figures` in the place of the row of NAME.csv with the same `key`; rows are sorted by it."""
    return put_rows(name, key, [figures])


def put_rows(name: str, key: str, figures: Sequence[dict[str, object]]) -> Path:
    """Writes several of them, which have the same columns."""
    origin = _origin()
    rows = {str(row[key]): row for row in [*read_rows(name), *({**origin, **each} for each in figures)]}
    path = _path(name)
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*origin, *figures[0]])
        writer.writeheader()
        writer.writerows(rows[one] for one in sorted(rows))
    part.replace(path)
    return path


def write_table(path: Path, entries: Sequence[Any], kind: Any) -> None:
    """A row for each, of this dataclass, "" where a field has its default, as `scenerec.models.table` reads it."""
    defaults = {field.name: field.default for field in fields(kind)}
    with path.open("w", encoding="utf-8", newline="") as rows:
        writer = csv.DictWriter(rows, list(defaults), lineterminator="\n")
        writer.writeheader()
        for entry in entries:
            cells = {name: "" if value == defaults[name] else value for name, value in asdict(entry).items()}
            writer.writerow({name: "yes" if cell is True else cell for name, cell in cells.items()})


def _path(name: str) -> Path:
    return Path(__file__).with_name(f"{name}.csv")


def _origin() -> dict[str, object]:
    return {"date": datetime.date.today().isoformat(), "commit": _commit(), "hardware": _hardware()}


def _commit() -> str:
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return asked.stdout.strip() or "unknown"


def _hardware() -> str:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return f"{os.cpu_count()} x {model}"


def put_status(arch: str, file: Path = STATUS_FILE, **differences: float) -> None:
    """Writes what was measured of `arch`, by the names of Status; its other figures and other rows stay.

    Raises:
        ModelError: there is no architecture `arch`.
    """
    name, status = architecture(arch).name, read_status(file)
    status[name] = replace(status[name], **differences)
    with file.open("w", encoding="utf-8", newline="") as rows:
        writer = csv.DictWriter(rows, ["arch", *(field.name for field in fields(Status))], lineterminator="\n")
        writer.writeheader()
        for measured, entry in status.items():
            if entry != Status():
                values = {field: f"{value:.1e}" for field, value in asdict(entry).items() if value is not None}
                writer.writerow({"arch": measured, **values})
