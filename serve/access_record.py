"""What is said of each request, for the log and the metrics."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class AccessRecord:
    """One answered request."""

    request_id: str
    method: str
    path: str
    started_at: float = field(default_factory=time.perf_counter)
    """By `time.perf_counter`."""
    status: int = 0
    code: str = ""
    """Of the error; "" where there was none."""
    model: str = ""
    version: str = ""
    caller: str = ""
    """Name of its API key."""
    images: int = 0
    total_s: float = 0.0
    queued_s: float = 0.0
    """Waiting for the model, the longest of its images."""
    prepared_s: float = 0.0
    """Decoding and resizing, of all its images."""
    inferred_s: float = 0.0
    """The network, of the slowest batch that its images were in."""
    batch_size: int = 0
    """Images of the largest such batch, those of other requests included."""
    trace: str = ""
    """The header traceparent (W3C Trace Context)."""


Observe = Callable[[AccessRecord], None]
