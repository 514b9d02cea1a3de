"""What a training takes of a cluster: node-hours, those that faults wasted, and what they cost. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pydantic import Field

from scenerec.config.job import CostConfig
from scenerec.config.run import RunConfig
from scenerec.config.scale import ScaleConfig
from scenerec.epoch_metrics import EpochMetrics
from scenerec.frozen import Frozen
from scenerec.training.plan import NodeResources, Plan, workers_on

_HOUR_S = 3600


class Start(Frozen):
    """The workers begin, or begin again: a line of a run's starts.jsonl."""

    time_s: float
    """When, in seconds since 1970."""
    workers: int = Field(ge=1)
    """How many they are."""
    global_step: int = 0
    """Steps that were done before: those of the checkpoint that they go on from."""
    saved_s: float = 0.0
    """When that checkpoint was made, in seconds since 1970; 0 where there is none, or it does not say."""


@dataclass(frozen=True)
class NodeTime:
    """What a job has taken of the cluster, in whole nodes: half the GPUs of one for an hour is half a node-hour."""

    node_hours: float
    """From the job's turn to its end, also while it waited for lost workers to return."""
    node_hours_wasted: float
    """Of these, what restarts cost: from the checkpoint that the workers went on from to their new beginning."""
    restarts: int
    """How often the workers began again."""

    def as_dict(self, cost: CostConfig | None) -> dict[str, float | int | str]:
        """Returns it as plain JSON values, with the price where it is known."""
        values: dict[str, float | int | str] = {
            "node_hours": round(self.node_hours, 4),
            "node_hours_wasted": round(self.node_hours_wasted, 4),
            "restarts": self.restarts,
        }
        if cost:
            values |= {"cost": round(self.node_hours * cost.node_hour, 2), "currency": cost.currency}
        return values


def node_time(begun_s: float, starts: Sequence[Start], ended_s: float, nodes_of: Callable[[int], float]) -> NodeTime:
    """Adds up what a job has taken.

    Args:
        begun_s: when it asked for its workers, in seconds since 1970, as all times.
        starts: of its workers, in their order.
        ended_s: when it ended.
        nodes_of: says how many nodes so many workers take.
    """
    if not starts:
        return NodeTime(0.0, 0.0, 0)
    times = [begun_s, *(start.time_s for start in starts[1:]), ended_s]
    spans = [max(0.0, after - before) for before, after in pairwise(times)]
    used_s = sum(nodes_of(start.workers) * span for start, span in zip(starts, spans, strict=True))
    wasted_s = 0.0
    for (before, after), span in zip(pairwise(starts), spans, strict=False):
        lost_s = after.time_s - max(after.saved_s, before.time_s)
        wasted_s += nodes_of(before.workers) * min(max(0.0, lost_s), span)
    return NodeTime(used_s / _HOUR_S, wasted_s / _HOUR_S, len(starts) - 1)


def nodes_taken(scale: ScaleConfig, workers: int, nodes: Sequence[NodeResources]) -> float:
    """Returns how many nodes so many workers take: of each node the larger share of its CPUs and GPUs.

    They are counted on the nodes that hold most workers first; those for which there is no room, as on these together.
    """
    cpus, gpus = scale.cpus_per_worker, scale.gpus_per_worker
    left, taken, room = workers, 0.0, 0
    for node in sorted(nodes, key=lambda node: -workers_on(node, cpus, gpus)):
        here = min(left, workers_on(node, cpus, gpus))
        taken += max(here * cpus / node.cpus if node.cpus else 0, here * gpus / node.gpus if node.gpus else 0)
        left, room = left - here, room + here
    return taken * workers / room if room else 0.0


@dataclass(frozen=True)
class CostPlan:
    """What a training will cost, as far as that is known before it."""

    node_hour: float
    """Price of a node for an hour."""
    currency: str
    """Currency of the price."""
    nodes: float | None
    """Nodes that the workers take; None where the cluster is not known."""
    hours: float | None
    """Hours of the steps that are left; None for a run whose speed is not known yet."""

    @property
    def amount(self) -> float | None:
        """What the rest of the run costs; None where that is not known."""
        return None if self.nodes is None or self.hours is None else self.node_hour * self.nodes * self.hours

    def __str__(self) -> str:
        price = f"{self.node_hour:,.2f} {self.currency}"
        if self.nodes is None:
            return f"{price} a node-hour"
        each_hour = f"{self.node_hour * self.nodes:,.2f} {self.currency} an hour on {self.nodes:.2g} node(s)"
        if self.hours is None or self.amount is None:
            return f"{each_hour}; how many hours, the first epoch will tell"
        amount = f"about {self.amount:,.2f} {self.currency}"
        return f"{amount}: {self.hours:.2g} hours at the speed of its last epoch, {each_hour}"


def plan_cost(
    config: RunConfig,
    plan: Plan,
    nodes: Sequence[NodeResources] | None,
    resumes_at: int | None,
    newest: EpochMetrics | None,
) -> CostPlan | None:
    """Returns what a training will cost with its largest number of workers; None where no price is given.

    Args:
        config: of the training.
        plan: of the same.
        nodes: of the cluster, None where it is not known.
        resumes_at: steps that are done already, None in a new run.
        newest: the metrics of the run's last epoch, None where it has none.
    """
    if config.cost is None:
        return None
    workers, hours = plan.workers[-1], None
    if newest and newest.images_per_s > 0:
        images = (plan.total_steps - (resumes_at or 0)) * plan.global_batch_size
        hours = images / (newest.images_per_s / newest.workers * workers) / _HOUR_S
    taken = nodes_taken(config.scale, workers, nodes) if nodes else None
    return CostPlan(config.cost.node_hour, config.cost.currency, taken, hours)
