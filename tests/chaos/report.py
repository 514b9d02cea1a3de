"""What a run of chaos came to: strike by strike, in all, and what must not have happened."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from scenerec.training.sample_log import GlobalBatch
from tests.chaos.plan import Strike
from tests.chaos.timeline import Timeline
from tests.steady_load import Tally


class Requests(NamedTuple):
    """How many requests have ended in each way so far."""

    answered: int
    refused: int
    lost: int

    @classmethod
    def of(cls, tally: Tally) -> "Requests":
        """Those that a load has counted until now."""
        return cls(tally.answered, tally.refused, len(tally.lost))

    def since(self, before: "Requests") -> "Requests":
        """Those that have ended since then."""
        return Requests(*(now - then for now, then in zip(self, before, strict=True)))


class Trained(NamedTuple):
    """What a run was trained on, and what it has learned."""

    batches: Sequence[GlobalBatch]
    history: Sequence[tuple[object, ...]]
    """An epoch each: its number, step, training loss, validation and learning rate."""


class Struck(NamedTuple):
    """A strike that has come."""

    strike: Strike
    at_s: float
    before: Requests
    """What had become of requests until then."""


@dataclass(frozen=True)
class Outcome:
    """What a strike has cost."""

    strike: Strike
    at_s: float
    """When it came, in seconds since the run's first step."""
    recovery_s: float | None
    """To the next new step after the pause that it brought; 0 without a pause, None where no step came any more."""
    redone: int
    """Steps that were made again."""
    refused: int
    """Requests that were told to come again, up to the next strike."""
    lost: int
    """Requests that got no answer or a wrong one, up to the next strike."""

    @property
    def recovery(self) -> str:
        """How long it took to recover, in words."""
        if self.recovery_s is None:
            return "never recovered"
        return f"{self.recovery_s:.0f} s" if self.recovery_s else "not held up"


def outcomes(struck: Sequence[Struck], run: Timeline, usual_s: float, end: Requests) -> list[Outcome]:
    """What each strike has cost, up to the next one.

    Args:
        struck: in their order.
        run: the run that they befell, from its first step to its end.
        usual_s: the longest pause that is no consequence of a strike.
        end: what had become of requests at the run's end.
    """
    ends = [(each.at_s, each.before) for each in struck[1:]] + [(run.firsts[-1].at_s, end)]
    return [
        Outcome(
            strike=each.strike,
            at_s=each.at_s - run.firsts[0].at_s,
            recovery_s=run.recovery_s(each.at_s, until_s, usual_s),
            redone=run.redone_between(each.at_s, until_s),
            refused=after.since(each.before).refused,
            lost=after.since(each.before).lost,
        )
        for each, (until_s, after) in zip(struck, ends, strict=True)
    ]


@dataclass(frozen=True)
class Verdict:
    """What the whole came to."""

    outcomes: tuple[Outcome, ...]
    goodput: float
    """The share of the disturbed run's time that its steps would have taken undisturbed."""
    requests: Requests
    """What became of those that were asked while the run was disturbed."""
    differences: tuple[str, ...]
    """What the disturbed run has other than the undisturbed one, or why it did not end; in words."""

    @property
    def equality(self) -> str:
        """What came of the comparison, in words."""
        return "; ".join(self.differences) or "equal batches, history equal bit by bit"

    @property
    def problems(self) -> list[str]:
        """What must not have happened."""
        lost = f"{self.requests.lost} of {sum(self.requests)} requests were lost"
        return [*self.differences, *([lost] if self.requests.lost else [])]

    @property
    def table(self) -> str:
        """A line a strike, for people."""
        rows = [("", "at step", "fault", "for", "recovered", "redone", "lost")]
        for each in self.outcomes:
            strike = each.strike
            rows.append(
                (
                    str(strike.number),
                    str(strike.at_step),
                    strike.kind.words,
                    f"{strike.lasts_s} s" if strike.lasts_s else "",
                    each.recovery,
                    f"{each.redone} steps",
                    f"{each.lost} requests" if each.lost else "",
                )
            )
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def differences(disturbed: Trained, whole: Trained) -> tuple[str, ...]:
    """What two runs of the same YAML differ in: the first batch and the first epoch, in words.

    The epochs are compared bit by bit.
    """
    found = []
    for what, ours, theirs in (
        ("batches", disturbed.batches, whole.batches),
        ("epochs", disturbed.history, whole.history),
    ):
        if len(ours) != len(theirs):
            found.append(f"{len(ours)} {what}, and {len(theirs)} undisturbed")
        elif apart := next((pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1]), None):
            found.append(f"other {what}: {apart[0]}, and undisturbed {apart[1]}")
    return tuple(found)
