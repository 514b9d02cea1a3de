"""How many requests a process has under way, by whichever protocol."""

from types import TracebackType

from serve.answers import retry_later

MOST = 4096
"""At once in a process. Its engines refuse long before, and say it better: this is for what never asks them."""


class Load:
    """Counts what is done `with` it: `count` is what the autoscaling goes by.

    Args:
        most: above it requests are refused.
    """

    def __init__(self, most: int = MOST) -> None:
        self.count = 0
        self._most = most

    def check(self) -> None:
        """Raises RequestError (503) where there are too many, this one included."""
        if self.count > self._most:
            raise retry_later(503, "overloaded", f"{self._most} requests are under way already: try again in a moment")

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.count -= 1
