"""The ways by which `tests.bench.data` reads images, each as its own documentation shows it."""

import resource
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import NamedTuple

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


def measure(framework: str, work: Work) -> float:
    """Images per second of processor time of a turn, in this process and in those that it starts and ends."""
    read: Callable[[Work], Iterator[int]] = getattr(import_module(f"tests.bench.data_{framework}"), work.way)
    before = _cpu_s()
    images = sum(read(work))
    return images / (_cpu_s() - before)


def _cpu_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
