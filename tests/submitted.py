"""`scenerec submit` as a user types it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.patience import PATIENCE_S


def submit_file(file: Path, *arguments: str, timeout_s: float = 2 * PATIENCE_S) -> "subprocess.CompletedProcess[str]":
    """Submits the job of a YAML file."""
    command = [sys.executable, "-m", "scenerec", "submit", str(file), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)


def submit_document(
    file: Path, document: dict[str, Any], *arguments: str, timeout_s: float = 2 * PATIENCE_S
) -> "subprocess.CompletedProcess[str]":
    """Writes the document to `file` and submits it."""
    file.write_text(yaml.safe_dump(document))
    return submit_file(file, *arguments, timeout_s=timeout_s)
