"""How quickly frames are answered, over runs of any length in constant memory."""

import math
from collections import Counter
from dataclasses import dataclass

_STEP = math.log(1.01)  # a bucket is 1 % wide
_LEAST_S = 1e-6


class Durations:
    """Counts durations in buckets of 1 % (as HdrHistogram does), from which quantiles are read to half a percent."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.count = 0
        self.longest_s = 0.0

    def add(self, duration_s: float) -> None:
        """Counts a duration in seconds."""
        self._counts[round(math.log(max(duration_s, _LEAST_S)) / _STEP)] += 1
        self.count += 1
        self.longest_s = max(self.longest_s, duration_s)

    def quantile_s(self, share: float) -> float:
        """Returns the seconds that a share of the durations keeps, by nearest rank; 0 where there are none."""
        rank, seen = math.ceil(share * self.count), 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= rank:
                return min(math.exp(bucket * _STEP), self.longest_s)
        return 0.0


@dataclass(frozen=True)
class Summary:
    """How a run went, so far or in all."""

    frames: int
    """Frames that were answered."""
    skipped: int
    """Frames that came and were not answered."""
    seconds: float
    """Time since the first frame was there."""
    frames_per_s: float
    """Frames that were answered, a second."""
    p50_ms: float
    """Median time from frame to answer, in milliseconds."""
    p99_ms: float
    """Time from frame to answer that 99 of 100 frames keep, in milliseconds."""
    oldest_ms: float
    """Age of the oldest frame when its answering began, in milliseconds."""


class Timing:
    """Keeps the times of the frames of one run; all are in seconds of the same clock."""

    def __init__(self) -> None:
        self._latencies = Durations()
        self._oldest_s = 0.0
        self._skipped = 0
        self._began_s: float | None = None
        self._ended_s = 0.0

    def add(self, captured_at: float, began_at: float, answered_at: float, skipped: int) -> None:
        """Counts a frame: when it came, when its answering began and ended, and how many before it were skipped."""
        if self._began_s is None:
            self._began_s = captured_at
        self._latencies.add(answered_at - captured_at)
        self._oldest_s = max(self._oldest_s, began_at - captured_at)
        self._skipped += skipped
        self._ended_s = answered_at

    def summary(self) -> Summary:
        """Returns how the run went up to the last answer."""
        seconds = self._ended_s - (self._began_s or 0.0) if self._latencies.count else 0.0
        return Summary(
            frames=self._latencies.count,
            skipped=self._skipped,
            seconds=seconds,
            frames_per_s=self._latencies.count / seconds if seconds else 0.0,
            p50_ms=self._latencies.quantile_s(0.5) * 1e3,
            p99_ms=self._latencies.quantile_s(0.99) * 1e3,
            oldest_ms=self._oldest_s * 1e3,
        )
