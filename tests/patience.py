"""Waiting for what other threads and processes do."""

import time
from collections.abc import Callable

PATIENCE_S = 240.0
"""Longer than anything takes, on a machine that others use as well: who waits so long waits for what does not come."""


def wait_until(happened: Callable[[], bool], what: str = "what was waited for", patience_s: float = PATIENCE_S) -> None:
    """Returns once it has happened, and fails where that takes longer than anyone's patience."""
    ends_at = time.monotonic() + patience_s
    while not happened():
        assert time.monotonic() < ends_at, f"{what} has not happened within {patience_s:g} s"
        time.sleep(0.1)
