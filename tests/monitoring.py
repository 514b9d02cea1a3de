"""What tests of monitoring share: the alert rules, Prometheus' own tool, and the metrics that the docs name."""

import re
import subprocess
from pathlib import Path

from cluster.monitoring import files
from tests.programs import installed

RULES = Path(files.__file__).parent / "rules.yml"

_DOCS = Path(__file__).parents[1] / "docs" / "monitoring.md"
_OWN = re.compile(r"\b(?:ray_)?(scenerec_[a-z0-9_]+)")
_OF_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")


def promtool(*arguments: str, folder: Path) -> str:
    """What it prints; it must be content."""
    command = [installed("promtool", "prometheus"), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def metrics_in(text: str) -> set[str]:
    """Our metrics that a text names, without Ray's prefix; a histogram's three series as one."""
    return {_OF_HISTOGRAM.sub("", name) for name in _OWN.findall(text)}


def documented() -> set[str]:
    """The metrics in the table of the docs, without Ray's prefix."""
    rows = (line for line in _DOCS.read_text().splitlines() if line.startswith("| `ray_scenerec_"))
    return {row.split("`")[1].removeprefix("ray_") for row in rows}
