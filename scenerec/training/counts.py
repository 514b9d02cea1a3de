"""What is counted in a validation, over batches and ranks, and the metrics that follow from it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import Self

import numpy as np

from scenerec.inference.evaluation.label_figures import LabelFigures
from scenerec.world import World


@dataclass(frozen=True)
class Counts(ABC):
    """Sums over validation samples: they add up, whatever the batches and ranks. Whole numbers stay exact to 2**53."""

    samples: float = 0.0
    """Samples that were counted."""

    def __add__(self, other: Self) -> Self:
        return self.from_array(self.as_array() + other.as_array())

    @classmethod
    def of_batch(cls, samples: int, counted: Sequence[np.ndarray]) -> Self:
        """The counts of a batch, from what the task's `count` gave."""
        return cls(samples, *map(float, counted))

    def over_ranks(self, world: World, sum_over_ranks: Callable[[np.ndarray], np.ndarray]) -> Self:
        """The counts of all ranks (collective); `sum_over_ranks` is `Learner.sum_over_ranks`."""
        return self.from_array(sum_over_ranks(self.as_array()))

    def as_array(self) -> np.ndarray:
        """float64 [fields], for a sum over ranks."""
        return np.array(astuple(self), dtype=np.float64)

    @classmethod
    def from_array(cls, array: np.ndarray) -> Self:
        """The counts of such an array."""
        return cls(*array.tolist())

    def label_figures(self, classes: Sequence[str]) -> tuple[LabelFigures, ...]:
        """How good the answers for each of `classes` are; empty of a task whose samples have one label each."""
        return ()

    @abstractmethod
    def metrics(self) -> dict[str, float]:
        """The task's metrics by key, val_loss first."""
