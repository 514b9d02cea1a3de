"""Processes that outlive the command that starts them, and are found again without mistaking a stranger."""

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "SCENEREC_CLUSTER_ID"
"""Variable that every process of a cluster inherits.

It proves that a recorded process id still is the process that was started; a start time would prove it only as long as
the clock is not set.
"""

_LOAD_TIMEOUT_S = 30.0


def spawn(command: list[str], environment: dict[str, str], mark: str, log: Path) -> int:
    """Starts `command` in a session of its own, its output appended to `log`, and returns its process id."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            env={**environment, MARK: mark},
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    # While the system loads a program, it has no environment yet: who looks then takes it for ended.
    wait_until(lambda: is_running(process.pid, mark), lambda: _exists(process.pid), _LOAD_TIMEOUT_S)
    return process.pid


def is_running(pid: int, mark: str) -> bool:
    """Whether `pid` is a live process that carries the mark."""
    try:
        return psutil.Process(pid).environ().get(MARK) == mark
    except (psutil.Error, OSError):
        return False


def members(leader: int | None, mark: str) -> list[psutil.Process]:
    """Finds what `leader` started, also when it has ended: its session, descendants, and what carries the mark.

    Ray's workers rename themselves and so lose the mark; its job drivers have sessions of their own.
    """
    # A session's id is not given away while the session has members. Where it belongs to a process without
    # the mark, the session is a stranger's.
    session = leader if leader is not None and (is_running(leader, mark) or not _exists(leader)) else None
    found = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == session or is_running(process.pid, mark):
                found[process.pid] = process
                found |= {child.pid: child for child in process.children(recursive=True)}
    found.pop(os.getpid(), None)
    return [process for process in found.values() if _alive(process)]


def terminate(leader: int | None, mark: str, patience_s: float) -> list[psutil.Process]:
    """Ends the leader and all that it started, and returns what was there.

    SIGTERM to the leader, who ends the others in good order; SIGKILL to those still there after `patience_s`.
    """
    doomed = members(leader, mark)
    if leader is not None and is_running(leader, mark):
        with suppress(psutil.Error):
            psutil.Process(leader).terminate()
        psutil.wait_procs(doomed, timeout=patience_s)
    for process in {*doomed, *members(leader, mark)}:
        with suppress(psutil.Error):
            process.kill()  # psutil does nothing where the id has passed to another process
    psutil.wait_procs(doomed, timeout=10)
    return doomed


def wait_until(ready: Callable[[], bool], alive: Callable[[], bool], timeout_s: float) -> bool:
    """Waits for `ready`; False when the time is over, or when it cannot come any more: `alive` says no."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if ready():
            return True
        if not alive():
            return False
        time.sleep(0.1)
    return False


def _exists(pid: int) -> bool:
    """Whether the id belongs to a process that runs; one that waits to be reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _alive(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
