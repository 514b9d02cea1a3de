"""What a version has answered in one process since it was loaded there: counts and times, which only grow."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from scenerec.inference.predictors.engine import Answer


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
    """The same of those that ended in an error."""
    queued_s: float = 0.0
    """Seconds of waiting for the network, of each request its longest."""
    prepared_s: float = 0.0
    """Seconds of decoding and resizing."""
    inferred_s: float = 0.0
    """Seconds of the network, of each request its slowest batch."""
    last_at_s: float = 0.0
    """When the last answer was there, in seconds since 1970; 0 before the first."""

    def add(self, answers: Sequence[Answer], took_s: float) -> None:
        """Counts a request with its answers."""
        self.answered += 1
        self.images += len(answers)
        self.batches += sum(1 / answer.batch_size for answer in answers)
        self.answered_s += took_s
        self.queued_s += max(answer.queued_s for answer in answers)
        self.prepared_s += sum(answer.prepared_s for answer in answers)
        self.inferred_s += max(answer.inferred_s for answer in answers)
        self.last_at_s = time.time()

    def add_failure(self, took_s: float) -> None:
        """Counts a request that ended in an error."""
        self.failed += 1
        self.failed_s += took_s
