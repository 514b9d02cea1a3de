"""Time as a test wants it: who sleeps does not wait."""

from types import ModuleType

import pytest


class Clock:
    """Stands in for the module `time` in a module under test; sleeping alone lets its time pass."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept_s: list[float] = []

    def monotonic(self) -> float:
        """Seconds that were slept."""
        return self.now_s

    perf_counter = monotonic

    def sleep(self, seconds: float) -> None:
        """Returns at once."""
        self.now_s += seconds
        self.slept_s.append(seconds)


def set_clock(patch: pytest.MonkeyPatch, module: ModuleType) -> Clock:
    """Gives a module a clock of its own, and returns it."""
    clock = Clock()
    patch.setattr(module, "time", clock)
    return clock
