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
    """When its first byte came, in seconds of `time.perf_counter`."""
    status: int = 0
    """HTTP status of the answer."""
    code: str = ""
    """Code of the error; "" where there was none."""
    model: str = ""
    """Model that was asked; "" where none was."""
    version: str = ""
    """Number of the version that answered."""
    caller: str = ""
    """Name of the API key that came with it."""
    images: int = 0
    """Photographs in it."""
    total_s: float = 0.0
    """Seconds from its first byte to its answer."""
    queued_s: float = 0.0
    """Seconds of waiting for the model, the longest of its images."""
    prepared_s: float = 0.0
    """Seconds of decoding and resizing, of all its images."""
    inferred_s: float = 0.0
    """Seconds of the network, for the slowest batch that its images were in."""
    batch_size: int = 0
    """Images in the largest batch that one of its images was in, those of other requests included."""
    trace: str = ""
    """The header traceparent (W3C Trace Context)."""


Observe = Callable[[AccessRecord], None]
"""Is told of each answered request."""
