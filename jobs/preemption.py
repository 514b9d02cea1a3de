"""How a worker learns that its machine is about to be taken away: by SIGTERM, or as its node is drained in Ray."""

import signal
import threading
from contextlib import suppress
from typing import Any

from typing_extensions import override

from jobs.ray_private import WorkerGroupCallback, is_node_draining

_ASKED_EVERY_S = 5.0

_announced = threading.Event()


class HeedPreemption(WorkerGroupCallback):
    """Lets every worker listen for it, before its training function starts."""

    @override
    def after_worker_group_start(self, worker_group: Any) -> None:
        worker_group.execute(_listen)


def is_announced() -> bool:
    """Whether this process's machine is about to go away."""
    return _announced.is_set()


def _listen() -> None:
    """Runs in the main thread of a worker, whose SIGTERM would end it: it goes on until its node is gone."""
    signal.signal(signal.SIGTERM, lambda number, frame: _announced.set())
    threading.Thread(target=_ask, daemon=True, name="preemption").start()


def _ask() -> None:
    while not _announced.wait(_ASKED_EVERY_S):
        with suppress(Exception):  # a head that is away; what it means for the job others say
            if is_node_draining():
                _announced.set()
