"""When to try again: exponential back-off with full jitter, never before the server's Retry-After. Pure arithmetic."""

FIRST_PAUSE_S = 0.1
"""The longest pause before the first retry; it doubles from one to the next."""

LONGEST_PAUSE_S = 5.0
"""No pause is longer, but for what the server asks."""

_LARGEST_EXPONENT = 16  # beyond it the longest pause rules anyway, and floats would overflow at last


def pause_s(attempt: int, retries: int, retry_after_s: float | None, remaining_s: float, draw: float) -> float | None:
    """Seconds to wait before the next attempt; None to give up.

    Args:
        attempt: how many were made before the one that has just failed: 0 after the first.
        retries: how many may follow the first.
        retry_after_s: what the server asks to wait for; the jitter comes on top, so that callers do not return at once.
        remaining_s: seconds until the deadline; where the pause would reach it, waiting is in vain.
        draw: uniform in [0, 1).
    """
    if attempt >= retries:
        return None
    jitter_s = draw * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(attempt, _LARGEST_EXPONENT))
    wanted_s = max(retry_after_s or 0.0, 0.0) + jitter_s
    return wanted_s if wanted_s < remaining_s else None
