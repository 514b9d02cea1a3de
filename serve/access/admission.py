"""What a process takes on: how much one request may ask for, and how many requests may be under way."""

from dataclasses import dataclass
from types import TracebackType

from serve.errors import ErrorKind, RequestError, retry_later

MOST = 4096
"""Requests at once in a process. Its engines refuse long before, and say it better: this is for what never asks them.
"""

_MOST_COUNTED = 1 << 62


@dataclass(frozen=True)
class RequestLimits:
    """What a request may ask for: the same for every request, by whichever protocol."""

    body_bytes: int = 20_000_000
    """Size of its body."""
    images: int = 64
    """Images in one request."""
    timeout_s: float = 10.0
    """How long it waits for an answer, from when its images are there."""
    body_timeout_s: float = 60.0
    """How long its body may take to arrive."""

    def check_images(self, count: int) -> None:
        """Makes sure that a request may have so many images, before anything is made of each. Raises RequestError."""
        if count > self.images:
            counted = f"{count} images" if count < _MOST_COUNTED else "too many images"
            raise RequestError(ErrorKind.BODY_TOO_LARGE, f"{counted}: at most {self.images} in one request")


class Load:
    """Counts what is done `with` it, by whichever protocol: `count` is what the autoscaling goes by.

    Args:
        most: above it requests are refused.
    """

    def __init__(self, most: int = MOST) -> None:
        self.count = 0
        self._most = most

    def check(self) -> None:
        """Makes sure that there are not too many, this one included. Raises RequestError (503)."""
        if self.count > self._most:
            raise retry_later(
                ErrorKind.OVERLOADED, f"{self._most} requests are under way already: try again in a moment"
            )

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.count -= 1
