"""How a worker learns that its machine is about to be taken away: by SIGTERM, or as its node is drained in Ray."""

import ctypes
import signal
import threading
from contextlib import suppress
from typing import Any

from typing_extensions import override

from jobs.ray_private import WorkerGroupCallback, is_node_draining

_ASKED_EVERY_S = 5.0

_announced = threading.Event()

_libc = ctypes.CDLL(None)
_libc.signal.argtypes, _libc.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
_python_s: int | None = None  # what C calls at SIGTERM where Python listens


class HeedPreemption(WorkerGroupCallback):
    """Lets every worker listen for it, before its training function starts."""

    @override
    def after_worker_group_start(self, worker_group: Any) -> None:
        worker_group.execute(_listen)


def is_announced() -> bool:
    """Whether this process's machine is about to go away."""
    return _announced.is_set()


def listen_again() -> None:
    """Called when the framework is up, in any thread: TensorFlow takes SIGTERM for itself, and tells nobody."""
    if _python_s is not None:
        _libc.signal(signal.SIGTERM, _python_s)


def _listen() -> None:
    """Runs in the main thread of a worker, whose SIGTERM would end it: it goes on until its node is gone."""
    global _python_s
    signal.signal(signal.SIGTERM, lambda number, frame: _announced.set())
    _python_s = _libc.signal(signal.SIGTERM, int(signal.SIG_IGN))  # returns the one before
    listen_again()
    threading.Thread(target=_ask, daemon=True, name="preemption").start()


def _ask() -> None:
    while not _announced.wait(_ASKED_EVERY_S):
        with suppress(Exception):  # a head that is away; what it means for the job others say
            if is_node_draining():
                _announced.set()
