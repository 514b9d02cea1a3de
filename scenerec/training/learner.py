"""What the training loop asks of a framework. torch_learner and tf_learner answer it, function for function."""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from scenerec.checkpoint import LearnerState
from scenerec.config.pretrain import PretrainConfig
from scenerec.config.run import RunConfig
from scenerec.data.packed_set import PackedSet
from scenerec.data.stream import Cursor, TrainingOrder
from scenerec.training.batchnorm import PreciseBatchNorm
from scenerec.training.plan import Plan, learned_classes
from scenerec.training.preprocessing import prepared
from scenerec.training.task import CLASSIFICATION, Counts, Task


class Named(Protocol):
    """What all batches have in common, whatever framework their images and labels are in."""

    @property
    def names(self) -> Sequence[str]:
        """Shard and key of each image."""


Batch = TypeVar("Batch", bound=Named)
"""One rank's share of a batch in the learner's framework: images, labels and their names."""


@dataclass(frozen=True)
class TrainingJob:
    """A plan with its data: everything that is the same on all ranks."""

    config: RunConfig
    """The whole of train.yaml or pretrain.yaml."""
    plan: Plan
    """The config resolved with data and cluster."""
    train: PackedSet
    """The training set."""
    val: PackedSet
    """The validation set, of the classes that are learned; of a pretraining the training set once more."""
    task: Task = CLASSIFICATION
    """What the network learns."""

    def __post_init__(self) -> None:
        """The config says all of the preprocessing that the plan has found: nobody after this asks the weights."""
        object.__setattr__(self, "config", prepared(self.config, self.plan.preprocessing))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that are learned, in order of class index."""
        return learned_classes(self.config, self.train.manifest, self.val.manifest)

    @property
    def order(self) -> TrainingOrder:
        """What fixes the run's sequence of global batches."""
        optimize, data = self.config.optimize, self.config.data
        return TrainingOrder(
            optimize.seed, self.plan.lanes, optimize.global_batch_size, optimize.epochs, data.balance, data.repeats
        )


@dataclass(frozen=True)
class PretrainingJob(TrainingJob):
    """A pretraining with its data."""

    config: PretrainConfig
    """The whole of pretrain.yaml."""
    probe: tuple[PackedSet, PackedSet] | None = None
    """The labelled sets of its probe, train and val; None where it has none."""


class Learner(Protocol[Batch]):
    """A network with its optimizer on one rank. What is marked collective is called on all ranks, in the same order."""

    def training_batches(self, start: Cursor) -> Generator[Batch, None, None]:
        """This rank's shares of the global batches, from `start` to the end of the run, or until it is closed."""

    def validation_batches(self) -> Iterable[Batch]:
        """This rank's share of the validation set, to iterate once an epoch."""

    def train_step(self, batch: Batch, learning_rate: float) -> None:
        """One optimizer step on a global batch (collective)."""

    def take_loss(self) -> float:
        """Sum over the steps since the last call of their mean training loss, by the class weights, of all ranks.

        Collective. It is exact, in float64 of float32: however the steps are parted into calls, the sums add up to the
        same.
        """

    def estimate_statistics(self, sample: PreciseBatchNorm) -> None:
        """Sets BatchNorm's running statistics to those of the weights as they are, over `sample` (collective).

        The averaged weights, where they are kept, get statistics of their own, which hold until the next step. What is
        frozen keeps its own. The sample is the same at each call.
        """

    def evaluate(self, batches: Iterable[Batch]) -> Counts:
        """The task's counts over all ranks' batches, by the averaged weights where they are kept (collective)."""

    def state(self) -> LearnerState:
        """A copy of everything that training changes, the same on all ranks (collective)."""

    def load_state(self, state: LearnerState) -> None:
        """Sets everything that training changes; `state` may come from the other framework."""

    def agree(self, value: int) -> int:
        """Rank 0's value, on all ranks (collective)."""

    def sum_over_ranks(self, values: np.ndarray) -> np.ndarray:
        """The sums over all ranks of float64 [n] (collective)."""


FP16_FIRST_LOSS_SCALE = 2.0**16
FP16_GROWTH_FACTOR = 2.0
FP16_BACKOFF_FACTOR = 0.5
FP16_GROWTH_INTERVAL = 2000
"""Steps without an overflow after which the loss scale doubles (Micikevicius et al. 2018, section 3.2)."""
