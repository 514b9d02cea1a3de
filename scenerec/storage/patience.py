"""How long a request waits for an object store that is away, and what is said meanwhile."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from scenerec.job_log import Note, format_line

LONGEST_PAUSE_S = 10.0
"""No pause between two tries is longer."""

_FIRST_PAUSE_S = 0.5
_LARGEST_EXPONENT = 16  # beyond it the longest pause rules anyway
_NEVER = float("inf")


def say_in_log(text: str) -> None:
    """Prints a note of a job's log: a worker's lines reach the log through Ray."""
    print(format_line(Note(text)), flush=True)


@dataclass(frozen=True)
class Patience:
    """How long requests wait for a store that does not answer, and what they say meanwhile. Picklable if `say` is."""

    budget_s: float
    """A request that has failed is tried again for so many seconds, counted anew where more bytes have come; the last
    try is at their end."""
    quiet_s: float = 3.0
    """What has waited for less says nothing."""
    repeat_s: float = 30.0
    """The waiting is said again after so many seconds."""
    say: Callable[[str], None] = say_in_log
    """Is told that a store is away, and that it is back; from any thread."""
    speaker: str = ""
    """Who waits, where that must be said: "worker 3"."""

    def quieter(self, speaker: str) -> "Patience":
        """The same for one of many that wait: it says so only after a while, and seldom, and who it is."""
        return replace(self, quiet_s=2 * self.repeat_s, repeat_s=10 * self.repeat_s, speaker=speaker)

    def tell(self, text: str) -> None:
        """Says something, and who says it."""
        self.say(f"{text} ({self.speaker})" if self.speaker else text)


IMPATIENT = Patience(budget_s=3.5, quiet_s=_NEVER)
"""Of commands, at which somebody sits: seconds, in silence."""


def pause_s(failures: int, draw: float) -> float:
    """Seconds before the next try after so many failures, at least one: doubled each time, and jittered by half.

    `draw` is uniform in [0, 1).
    """
    longest_s = _FIRST_PAUSE_S * 2 ** min(failures - 1, _LARGEST_EXPONENT)
    return min(longest_s, LONGEST_PAUSE_S) * (1 + draw) / 2


def is_store_away() -> bool:
    """Whether this process waits for a store, and has waited for so long that it was said."""
    return any(news.is_away for news in list(_NEWS.values()))


class Wait:
    """The waiting of one request, try after try.

    Args:
        patience: how long, and what is said.
        store: name of what is asked, such as a bucket: of one that is away a process speaks once, however many of its
            requests wait.
    """

    def __init__(self, patience: Patience, store: str) -> None:
        self.patience = patience
        self._news = _NEWS.setdefault(store, _News())
        self._began_s = time.monotonic()
        self._failed_s = 0.0
        self._failures = 0
        self._received_bytes = 0

    def again(self, reason: str, received_bytes: int = 0) -> bool:
        """After a try that failed for `reason`: sleeps until the next; False at once where the budget is spent.

        `received_bytes` are those that all tries have brought; where they have grown, the waiting begins anew.
        """
        now_s = time.monotonic()
        if received_bytes > self._received_bytes:
            self._received_bytes, self._failures, self._began_s = received_bytes, 0, now_s
        if not self._failures:
            self._failed_s = now_s
        self._failures += 1
        left_s = self._failed_s + self.patience.budget_s - now_s
        if left_s <= 0:
            return False
        waited_s = now_s - self._began_s
        if waited_s >= self.patience.quiet_s:
            self._news.away(reason, waited_s, self.patience)
        time.sleep(min(pause_s(self._failures, random.random()), left_s))
        return True

    def over(self, where: str) -> None:
        """After the try that succeeded, at the address `where`."""
        if self._failures:
            self._news.back(where, self.patience)


class _News:
    """What this process has said of a store that is away."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._away_s: float | None = None  # since when, where that has been said
        self._said_s = 0.0

    @property
    def is_away(self) -> bool:
        return self._away_s is not None

    def away(self, reason: str, waited_s: float, patience: Patience) -> None:
        with self._lock:
            now_s = time.monotonic()
            if self._away_s is None:
                self._away_s = now_s - waited_s
            elif now_s - self._said_s < patience.repeat_s:
                return
            self._said_s = now_s
            patience.tell(f"{reason}; waiting since {waited_s:.0f} s, up to {patience.budget_s:.0f} s")

    def back(self, where: str, patience: Patience) -> None:
        with self._lock:
            if self._away_s is not None:
                patience.tell(f"{where}: the store answers again, after {time.monotonic() - self._away_s:.0f} s")
                self._away_s = None


_NEWS: dict[str, _News] = {}
