"""Processes of this machine for independent tasks. A runner on a cluster has the same signature."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Protocol, TypeVar

from scenerec.errors import ScenerecError

Task = TypeVar("Task")
Result = TypeVar("Result")


class Runner(Protocol):
    """Applies a function to tasks, somewhere, and yields the results as they come, in any order."""

    def __call__(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """Yields the results of `function` for `tasks`.

        Raises the first exception that `function` raises; tasks that have not begun are then dropped.
        """


def process_runner(processes: int) -> Runner:
    """A runner on `processes` fresh processes; on this one if it is 1. Two tasks a process are in flight."""

    def run(function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        if processes == 1:
            yield from map(function, tasks)
            return
        context = multiprocessing.get_context("spawn")  # a fork would copy threads' locks and S3 clients
        executor = ProcessPoolExecutor(processes, context, initializer=_start_worker)
        try:
            remaining = iter(tasks)
            pending: set[Future[Result]] = set()
            while True:
                pending |= {executor.submit(function, task) for task in islice(remaining, 2 * processes - len(pending))}
                if not pending:
                    return
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool:
            raise ScenerecError("a worker process died, perhaps for want of memory: try fewer --processes") from None
        finally:
            executor.shutdown(cancel_futures=True)

    return run


def default_processes() -> int:
    """One process for each core that this one may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_worker() -> None:
    """Ctrl-C is the parent's to handle; a parent that was killed takes its workers along."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
