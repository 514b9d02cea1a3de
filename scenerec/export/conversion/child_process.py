"""A Python module as a process of its own, under a cap of memory and of time, which ends with the work.

What is asked of it, and what it reports where it fails, are files in a folder of both.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

import scenerec
from scenerec.errors import ScenerecError
from scenerec.frozen import Frozen, Model

REQUEST_FILE = "request.json"
"""What the child is asked."""
FAILURE_FILE = "failure.txt"
"""The child's own explanation, where it can give one."""

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


class ReportedError(ChildError):
    """What the child itself reports, in one line."""


def ask(module: str, folder: Path, request: Frozen, limits: ChildLimits) -> None:
    """Runs `module`, whose main is `answer`, for a request. Raises ReportedError, and as `run` does."""
    (folder / REQUEST_FILE).write_text(request.model_dump_json())
    try:
        run(module, folder, limits)
    except ChildError:
        if not (folder / FAILURE_FILE).is_file():
            raise
        raise ReportedError((folder / FAILURE_FILE).read_text()) from None


def answer(folder: Path, model: type[Model], work: Callable[[Model], None]) -> int:
    """Does, in the child, what the request in `folder` asks for; returns the exit code.

    The code is 0, or 1 with FAILURE_FILE for what can be explained in one line.
    """
    try:
        work(model.model_validate_json((folder / REQUEST_FILE).read_text()))
    except ScenerecError as error:
        (folder / FAILURE_FILE).write_text(str(error))
        return 1
    return 0


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
