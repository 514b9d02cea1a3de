"""Waiting for what other threads and processes do."""

import time
from collections.abc import Callable


def wait_until(happened: Callable[[], bool], what: str = "what was waited for", patience_s: float = 150) -> None:
    """Returns once it has happened, and fails where that takes longer than anyone's patience."""
    ends_at = time.monotonic() + patience_s
    while not happened():
        assert time.monotonic() < ends_at, f"{what} has not happened within {patience_s:g} s"
        time.sleep(0.1)
