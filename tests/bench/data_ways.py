"""A process of `tests.bench.data`: it imports one framework, and does the work that it reads from its input.

Needs Python alone, so that it runs in the peers' own environments.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

BUCKET = "bench"
SIZE = 224
BATCH = 32


class Work(NamedTuple):
    """One turn of one way."""

    way: str
    folder: str
    """With images/train, an ImageFolder, and packed, a packed set of the same."""
    jitter: float
    """0: uint8 crops; else normalised float32 with this much jitter of brightness, contrast and saturation."""
    cores: int
    seed: int


def main() -> None:
    """Reads a Work a line, and answers each with images per second of processor time."""
    ways = import_module(sys.argv[1])
    for line in sys.stdin:
        work = Work(*json.loads(line))
        _take_cores(work.cores)
        read: Callable[[Work], Iterator[int]] = getattr(ways, work.way)
        before = _cpu_s()
        images = sum(read(work))
        print(json.dumps(images / (_cpu_s() - before)), flush=True)


def _take_cores(cores: int) -> None:
    """All threads of this process, and what they start, compute on so many cores from now on."""
    chosen = sorted(os.sched_getaffinity(os.getppid()))[:cores]
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setaffinity(int(thread.name), chosen)


def _cpu_s() -> float:
    """Of this process and those that it has started and ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


if __name__ == "__main__":
    main()
