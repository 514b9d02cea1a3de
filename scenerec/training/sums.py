"""Sums over a stretch of training, from which its means are taken."""

from dataclasses import astuple, dataclass

from scenerec.training.data_wait import DataUse


@dataclass
class Sums(DataUse):
    """Sums over a stretch of training; they survive a resume in its middle."""

    loss: float = 0.0
    """Sum over the steps of their mean training loss: float64 of float32, and so exact in any order."""
    steps: int = 0
    """How many steps."""
    seconds: float = 0.0
    """How long they took."""

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(*(mine + others for mine, others in zip(astuple(self), astuple(other), strict=True)))

    @property
    def mean_loss(self) -> float:
        """Mean training loss of a step."""
        return self.loss / self.steps

    @property
    def steps_per_s(self) -> float:
        """Steps per second."""
        return self.steps / self.seconds

    @property
    def wait_share(self) -> float:
        """Share of the time in which this rank waited for its next batch."""
        return self.wait_s / self.seconds
