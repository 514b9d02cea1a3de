"""What a run of chaos came to: strike by strike, in all, and what must not have happened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from scenerec.training.sample_log import GlobalBatch
from tests.chaos.plan import Strike
from tests.chaos.timeline import Timeline
from tests.steady_load import Tally

_LAST_EPOCHS = 3


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


class Learned(NamedTuple):
    """What an epoch came to: its metrics but for those that depend on time, or on the number of workers."""

    epoch: int
    global_step: int
    train_loss: float
    validation: Mapping[str, float]
    lr: float


class Trained(NamedTuple):
    """What a run was trained on, and what it has learned."""

    batches: Sequence[GlobalBatch]
    epochs: Sequence[Learned]

    @property
    def is_dead(self) -> bool:
        """Whether it has stopped to learn, so that equal losses would prove nothing: its last ones are all the same."""
        return len({epoch.train_loss for epoch in self.epochs[-_LAST_EPOCHS:]}) < 2

    def differences(self, whole: "Trained", is_elastic: bool = False) -> list[str]:
        """The first batch and the first epoch in which it is another than the same run undisturbed, in words.

        The epochs are compared bit by bit. Of an elastic run only the batches are: another number of workers adds the
        same gradients in another order, and rounding makes other weights of that.
        """
        found = _difference("batches", self.batches, whole.batches)
        return found if is_elastic else found + _difference("epochs", self.epochs, whole.epochs)


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

    goodput: float
    """The share of the disturbed run's time that its steps would have taken undisturbed."""
    requests: Requests
    """What became of those that were asked while the run was disturbed."""
    differences: Sequence[str]
    """What the disturbed run has other than the undisturbed one, or why it did not end; in words."""
    losses: tuple[float, float]
    """The training loss of the last epoch, disturbed and undisturbed."""

    @property
    def comparison(self) -> str:
        """What came of comparing the runs, in words."""
        if self.differences:
            return "; ".join(self.differences)
        disturbed, whole = self.losses
        return f"equal batches, {'equal loss' if disturbed == whole else f'loss {disturbed:.4f} and {whole:.4f}'}"

    @property
    def problems(self) -> list[str]:
        """What must not have happened."""
        lost = f"{self.requests.lost} of {sum(self.requests)} requests were lost"
        return [*self.differences, *([lost] if self.requests.lost else [])]


def table(found: Sequence[Outcome]) -> str:
    """A line a strike, for people."""
    rows = [("", "at step", "fault", "for", "recovered", "redone", "lost")]
    for each in found:
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


def _difference(what: str, ours: Sequence[object], theirs: Sequence[object]) -> list[str]:
    if len(ours) != len(theirs):
        return [f"{len(ours)} {what}, and {len(theirs)} undisturbed"]
    pairs = zip(ours, theirs, strict=True)
    return next(([f"other {what}: {one}, and undisturbed {other}"] for one, other in pairs if one != other), [])
