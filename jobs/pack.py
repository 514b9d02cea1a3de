"""The packing job: `python -m jobs.pack request.json` on the cluster packs one shard a task, on all of its nodes."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import ray

from scenerec.data.packing.pack import PackRequest, pack
from scenerec.errors import ClusterError, ScenerecError
from scenerec.job_log import Event, Failure, Note, RunResult, format_line

Task = TypeVar("Task")
Result = TypeVar("Result")

NOTE_EVERY_S = 10.0


def main(request_file: str) -> int:
    """Packs what `request_file` asks for; returns the exit code. Prints lines of `scenerec.job_log`."""
    try:
        request = PackRequest.model_validate_json(Path(request_file).read_bytes())
        ray.init(log_to_driver=False, logging_level="ERROR")
        _say(RunResult(asdict(pack(request, run_on_cluster, _Notes()))))
    except ScenerecError as error:
        _say(Failure(str(error)))
        return error.exit_code
    return 0


def run_on_cluster(function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
    """A runner (see `scenerec.data.pool`) on the cluster that Ray is connected to, one CPU a task."""
    remote = ray.remote(num_cpus=1, max_retries=3)(function)
    in_flight = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
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


class _Notes:
    """Says now and then how far the packing is."""

    def __init__(self) -> None:
        self.began_s = self.said_s = time.monotonic()
        self.done_before = -1

    def __call__(self, done: int, total: int) -> None:
        if self.done_before < 0:
            self.done_before = done
        now_s = time.monotonic()
        if now_s - self.said_s >= NOTE_EVERY_S or done == total:
            rate = (done - self.done_before) / (now_s - self.began_s)
            _say(Note(f"{done} of {total} images, {rate:.0f} images/s"))
            self.said_s = now_s


def _say(event: Event) -> None:
    print(format_line(event), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
