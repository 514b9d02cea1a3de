"""Ray tasks over a list: as many at a time as asked for, lost ones again, errors as they were raised."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

import ray

from scenerec.errors import ClusterError

Task = TypeVar("Task")
Result = TypeVar("Result")

MAX_RETRIES = 3
"""How often a task is run again whose process or node was lost."""


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    in_flight: int,
    cpus: float = 1,
    gpus: float = 0,
    max_retries: int = MAX_RETRIES,
) -> Iterator[Result]:
    """Yields function(task) for each task, in order of completion, with `in_flight` submitted at any time.

    `cpus` and `gpus` are those of each task; one whose process or node is lost runs again, `max_retries` times at most.

    A process runs task after task, so what `function` keeps in its module stays. Raises what a task raised, and
    ClusterError where one was lost too often.
    """
    # Ray would end a process after each task that has a GPU.
    remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=max_retries, max_calls=0)(function)
    remaining = iter(tasks)
    pending: list[ray.ObjectRef] = []
    try:
        while True:
            pending += [remote.remote(task) for task in islice(remaining, in_flight - len(pending))]
            if not pending:
                return
            done, pending = ray.wait(pending)
            for reference in done:
                yield _result(reference)
    finally:
        for reference in pending:
            ray.cancel(reference)


def _result(reference: ray.ObjectRef) -> Any:
    """What the task returned; what it raised is raised as it was, without Ray's wrapping."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise ClusterError(f"a task was lost: {str(error).strip().splitlines()[0]}") from None
