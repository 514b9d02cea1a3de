"""What befalls the run and the deployment, and when: drawn from a seed alone, so that a run can be repeated."""

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice

STEPS_PER_EPOCH = 30
SECONDS_A_STRIKE = 60
"""How long a strike takes together with the steps up to the next one, about, where two cores are all there is."""
STEPS_A_STRIKE = 150
TELLS_WITHIN_S = 10.0
"""A strike that holds the run up does so within this time, the log's delay included."""
STANDS_AFTER_S = 3.0
"""A run that has made no new step for so long stands still."""


@dataclass(frozen=True)
class FaultKind:
    """What can happen."""

    name: str
    words: str
    """What the log, the table and the picture say of it."""
    weight: int
    """How often it comes, beside the others."""
    lasts_s: tuple[int, int] = (0, 0)
    """The shortest and the longest time until whatever was taken is given back; 0 for what comes back by itself."""
    takes_node: bool = False
    """Whether the cluster has a node less meanwhile."""


KINDS = (
    FaultKind("kill_worker", "a worker is killed", 3),
    FaultKind("kill_node", "a node loses its power", 2, (20, 60), takes_node=True),
    FaultKind("cut_cable", "a node's cable is cut", 2, (20, 90), takes_node=True),
    FaultKind("preempt_node", "a node is pre-empted", 2, (20, 60), takes_node=True),
    FaultKind("resize", "a node leaves and joins again", 2, (30, 60), takes_node=True),
    FaultKind("kill_driver", "the job's driver is killed", 1),
    FaultKind("store_away", "the store is away", 2, (10, 60)),
    FaultKind("store_errors", "the store answers 503", 1, (10, 40)),
    FaultKind("store_hangs", "the store does not answer", 1, (10, 40)),
    FaultKind("store_slow", "the store is slow", 1, (10, 40)),
    FaultKind("kill_replica", "a replica is killed", 2),
    FaultKind("kill_proxy", "the endpoint's proxy is killed", 1),
)


@dataclass(frozen=True)
class Strike:
    """A fault at its place in the run."""

    number: int
    """From 1."""
    at_step: int
    """It comes when the run has done so many steps for the first time, and the strike before is overcome."""
    kind: FaultKind
    rank: int
    """Of the worker that it is about, or whose node."""
    lasts_s: int
    """After so many seconds what it took is given back."""


@dataclass(frozen=True)
class Plan:
    """A run's length, and the strikes upon it."""

    seed: int
    epochs: int
    strikes: tuple[Strike, ...]

    @property
    def steps(self) -> int:
        """Optimizer steps of the run."""
        return self.epochs * STEPS_PER_EPOCH


def make_plan(seed: int, minutes: float, workers: int, kinds: Collection[FaultKind] = KINDS) -> Plan:
    """Draws the strikes of about so many minutes: the same for the same arguments, on any machine.

    Args:
        seed: of all that is drawn.
        minutes: how long the run shall take with them, about.
        workers: of the run.
        kinds: what may happen.
    """
    rng = random.Random(seed)
    count = max(1, round(minutes * 60 / SECONDS_A_STRIKE))
    epochs = -(-count * STEPS_A_STRIKE // STEPS_PER_EPOCH)
    # Each strike has its own stretch of the run, and comes in its middle half.
    stretch = epochs * STEPS_PER_EPOCH / count
    strikes = [
        Strike(
            number=place + 1,
            at_step=round((place + rng.uniform(0.25, 0.75)) * stretch),
            kind=kind,
            rank=rng.randrange(workers),
            lasts_s=rng.randint(*kind.lasts_s),
        )
        for place, kind in enumerate(islice(_dealt(kinds, rng), count))
    ]
    return Plan(seed, epochs, tuple(strikes))


def may_strike(kind: FaultKind, away: int, nodes: int, fewest: int) -> bool:
    """Whether it leaves the cluster enough nodes.

    Args:
        kind: what would happen.
        away: nodes that are away already.
        nodes: that there are in all.
        fewest: that must be left, so that the run and the deployment find room.
    """
    return not kind.takes_node or nodes - away > fewest


def is_overcome(now_s: float, befell_s: float, stepped_s: float) -> bool:
    """Whether a strike has told, and the run goes on, so that the next one's cost is its own.

    Args:
        now_s: the time.
        befell_s: when the strike came.
        stepped_s: when the run made its newest step.
    """
    return now_s - befell_s > TELLS_WITHIN_S and now_s - stepped_s < STANDS_AFTER_S


def _dealt(kinds: Collection[FaultKind], rng: random.Random) -> Iterator[FaultKind]:
    """Kinds as often as they weigh: in rounds, the first of each kind, the next of those that weigh more."""
    while True:
        for round_ in range(max(kind.weight for kind in kinds)):
            left = [kind for kind in kinds if kind.weight > round_]
            yield from rng.sample(left, len(left))
