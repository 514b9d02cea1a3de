"""When a version comes into service and when it goes: the decisions of a roll-out, as pure functions of what is known.

A model's wanted placements are what its references mean now (an alias moves). They come into service when the
application has proven them; they go out of it again when a replica refuses them, or fails to answer with them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from serve.rollout.assignment import Placement, Report

Placements = tuple[Placement, ...]
"""The versions of one model, with their shares."""


@dataclass(frozen=True)
class ModelState:
    """What is known of one model in a roll-out."""

    current: Placements = ()
    """What is in service."""
    previous: Placements = ()
    """What was in service before: a failure goes back to it."""
    refused: Mapping[Placements, str] = field(default_factory=dict)
    """What is not taken into service again, and why."""
    since_s: float = 0.0
    """When `current` came into service, in seconds of a monotonic clock."""


def needs_proof(state: ModelState, wanted: Placements) -> bool:
    """Whether `wanted` should be proven now, to come into service."""
    return wanted != state.current and wanted not in state.refused


def advance(state: ModelState, wanted: Placements, now_s: float) -> ModelState:
    """`wanted` was proven and is in service."""
    return ModelState(wanted, state.current or wanted, state.refused, now_s)


def refuse(state: ModelState, wanted: Placements, reason: str) -> ModelState:
    """`wanted` did not prove itself: what is in service stays."""
    return replace(state, refused={**state.refused, wanted: reason})


def roll_back(state: ModelState, reason: str, now_s: float) -> ModelState:
    """What is in service failed: back to what was there before."""
    return ModelState(state.previous, state.previous, {**state.refused, state.current: reason}, now_s)


def failure(
    state: ModelState, reports: Iterable[Report], now_s: float, watch_s: float, max_failures: int
) -> str | None:
    """Why what is in service must go; None where nothing speaks against it, or where there is nothing to go back to.

    A refusal by any replica counts at any time, failures to answer within `watch_s` of its beginning.
    """
    if not state.previous or state.previous == state.current:
        return None
    fresh = {placement.key for placement in state.current} - {placement.key for placement in state.previous}
    failures = 0
    for report in reports:
        for key in fresh:
            if key in report.refused:
                return f"replica {report.replica}: {report.refused[key]}"
            failures += report.failures.get(key, 0)
    if failures >= max_failures and now_s - state.since_s <= watch_s:
        return f"it failed to answer {failures} requests, which other versions answered"
    return None
