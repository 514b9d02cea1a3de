"""What an export says while it works: the steps that begin and are done, and lines of its own."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """A step that begins, or is done."""

    name: str
    """What is done in the step, in a word or two."""
    seconds: float | None = None
    """Seconds that the step took; None where it begins."""


Say = Callable[[Step | str], None]
"""Hears of steps, and of what was tried or went otherwise than asked for."""


@contextmanager
def step(name: str, say: Say) -> Iterator[None]:
    """Tells `say` when the step begins and, unless it fails, when it is done."""
    say(Step(name))
    started = time.perf_counter()
    yield
    say(Step(name, time.perf_counter() - started))
