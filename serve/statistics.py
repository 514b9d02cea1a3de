"""What a version has answered in one process since it was loaded there: counts and times, which only grow."""

import time
from dataclasses import dataclass

from serve.access_record import AccessRecord


@dataclass(slots=True)
class Statistics:
    """The sums over the requests that a version was asked."""

    answered: int = 0
    """Requests with an answer."""
    failed: int = 0
    """Requests that ended in an error: a picture that does not decode, too much to do, a fault of the model."""
    images: int = 0
    """Images of the requests with an answer."""
    batches: float = 0.0
    """Runs of the network, of each the share that was these requests'."""
    answered_s: float = 0.0
    """Seconds of the requests with an answer, from when their images were there."""
    failed_s: float = 0.0
    """Seconds of the requests that ended in an error, from when their images were there."""
    queued_s: float = 0.0
    """Seconds of waiting for the network, of each request its longest."""
    prepared_s: float = 0.0
    """Seconds of decoding and resizing."""
    inferred_s: float = 0.0
    """Seconds of the network, of each request its slowest batch."""
    last_at_s: float = 0.0
    """When the last answer was there, in seconds since 1970; 0 before the first."""

    def add(self, record: AccessRecord, batches: float, took_s: float) -> None:
        """Counts a request with an answer, of which the record says how long its parts took."""
        self.answered += 1
        self.images += record.images
        self.batches += batches
        self.answered_s += took_s
        self.queued_s += record.queued_s
        self.prepared_s += record.prepared_s
        self.inferred_s += record.inferred_s
        self.last_at_s = time.time()

    def add_failure(self, took_s: float) -> None:
        """Counts a request that ended in an error."""
        self.failed += 1
        self.failed_s += took_s
