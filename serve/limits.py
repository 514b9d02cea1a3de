"""What a request may ask for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The same for every request, by whichever protocol."""

    body_bytes: int = 20_000_000
    """Of its body."""
    images: int = 64
    """In one request."""
    timeout_s: float = 10.0
    """For an answer, from when its images are there."""
    body_timeout_s: float = 60.0
    """For its body to arrive."""
