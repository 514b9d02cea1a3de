"""How often somebody may call: a token bucket, as pure arithmetic."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TokenBucket:
    """What a caller may still do at once."""

    tokens: float
    """What is left; below zero after a cost beyond the burst."""
    at_s: float
    """When that was left, in seconds of the caller's clock."""


def take(
    bucket: TokenBucket | None, now_s: float, cost: float, per_s: float, burst: float
) -> tuple[TokenBucket, float]:
    """Takes `cost` tokens of a bucket that fills with `per_s` tokens a second up to `burst`; None is a full one.

    Returns the bucket, and 0; or the bucket with nothing taken, and the seconds after which there will be enough. A
    cost beyond `burst` is let through when the bucket is full, and owes the rest.
    """
    tokens = burst if bucket is None else min(burst, bucket.tokens + max(now_s - bucket.at_s, 0.0) * per_s)
    missing = min(cost, burst) - tokens
    if missing > 0:
        return TokenBucket(tokens, now_s), missing / per_s
    return TokenBucket(tokens - cost, now_s), 0.0
