"""One row a run, or one row a subject: date, commit, hardware, figures."""

import csv
import datetime
import os
import platform
import subprocess
from pathlib import Path


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
    row = {**_origin(), **figures}
    others = [other for other in read_rows(name) if other[key] != figures[key]]
    path = _path(name)
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerows(sorted([*others, row], key=lambda one: str(one[key])))
    part.replace(path)
    return path


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
