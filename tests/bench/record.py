"""One row a run: date, commit, hardware, figures."""

import csv
import datetime
import os
import platform
import subprocess
from pathlib import Path


def append_row(name: str, figures: dict[str, object]) -> Path:
    """Appends `figures` to NAME.csv beside this file and returns its path."""
    path = Path(__file__).with_name(f"{name}.csv")
    row = {"date": datetime.date.today().isoformat(), "commit": _commit(), "hardware": _hardware(), **figures}
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)
    return path


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
