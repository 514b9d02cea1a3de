"""What is known of data and machine when a training is chosen for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from scenerec.training.plan import NodeResources


@dataclass(frozen=True)
class DataFacts:
    """The images that there are to learn from."""

    class_counts: Mapping[str, int]
    """Training images of each class."""
    val_images: int
    """Images to validate on."""
    short_side: int
    """Median of the images' short sides, in pixels."""

    @property
    def images(self) -> int:
        """Training images."""
        return sum(self.class_counts.values())

    @property
    def imbalance(self) -> float:
        """How many times as many images the largest class has as the smallest."""
        return max(self.class_counts.values()) / max(min(self.class_counts.values()), 1)


@dataclass(frozen=True)
class Machine:
    """The nodes that train, all alike."""

    cpus: int
    """Cores of a node."""
    gpus: int = 0
    """GPUs of a node."""
    nodes: int = 1
    """How many there are."""
    memory_bytes: int | None = None
    """Free memory of a node; None where that is not known."""
    speed: float = 1.0
    """How many times as fast a core is as that of the table of costs."""

    @property
    def words(self) -> str:
        """What trains, for people."""
        count = self.gpus or self.cpus
        unit = ("GPU" if self.gpus else "core") + ("s" if count * self.nodes != 1 else "")
        return f"{self.nodes} nodes of {count} {unit}" if self.nodes > 1 else f"{count} {unit}"


def machine_of(nodes: Sequence[NodeResources], memory_bytes: int | None = None, speed: float = 1.0) -> Machine:
    """The nodes of a cluster as machines that are alike: those with GPUs, if there are any, by what the weakest has."""
    taken = [node for node in nodes if node.gpus] or list(nodes)
    cpus, gpus = (int(min(getattr(node, kind) for node in taken)) for kind in ("cpus", "gpus"))
    return Machine(max(cpus, 1), gpus, len(taken), memory_bytes, speed)


def data_facts(class_counts: Mapping[str, int], val_images: int, short_sides: Sequence[int]) -> DataFacts:
    """The facts of a data set, of whose images some were measured."""
    return DataFacts(class_counts, val_images, round(median(short_sides)))
