"""A Python module as a process of its own, under a cap of memory and of time, which ends with the work."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

import scenerec

_WATCH_EVERY_S = 0.05


@dataclass(frozen=True)
class ChildLimits:
    """What the process may take before it is ended."""

    memory_bytes: int = 4 * 2**30
    """Most resident memory; TensorFlow takes 1.2 GiB of it without a model."""
    time_s: float = 1800.0
    """Longest wall-clock time."""


DEFAULT_LIMITS = ChildLimits()
"""What a conversion to ONNX may take, unless something else is asked for."""


class ChildError(Exception):
    """A process that did not succeed; the message says how it ended."""


class LimitError(ChildError):
    """A process that was ended as it went beyond a limit."""


def run(module: str, folder: Path, limits: ChildLimits) -> None:
    """Runs `python -m module folder`, without a GPU; what the process writes to stderr goes to folder/stderr.

    Raises ChildError where it does not succeed, LimitError where it goes beyond a limit.
    """
    root = str(Path(scenerec.__file__).parents[1])
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
        "CUDA_VISIBLE_DEVICES": "-1",  # nothing is computed: a GPU would cost memory and time
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    with (folder / "stderr").open("wb") as stderr:
        child = subprocess.Popen(
            [sys.executable, "-m", module, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env=environment,
        )
    try:
        _watch(child, limits)
    finally:
        child.kill()
        child.wait()
    if child.returncode:
        cause = f"signal {-child.returncode}" if child.returncode < 0 else f"exit code {child.returncode}"
        lines = (folder / "stderr").read_text(errors="replace").strip().splitlines()
        raise ChildError(f"ended with {cause}{f': {lines[-1]}' if lines else ''}")


def _watch(child: subprocess.Popen[bytes], limits: ChildLimits) -> None:
    """Returns when the child has ended by itself."""
    watched, deadline = psutil.Process(child.pid), time.monotonic() + limits.time_s
    while child.poll() is None:
        try:
            resident_bytes = watched.memory_info().rss
        except psutil.NoSuchProcess:
            continue
        if resident_bytes > limits.memory_bytes:
            raise LimitError(f"needs more than {limits.memory_bytes / 2**30:.1f} GiB of memory")
        if time.monotonic() > deadline:
            raise LimitError(f"takes more than {limits.time_s:g} s")
        time.sleep(_WATCH_EVERY_S)
