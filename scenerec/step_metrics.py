"""What a few optimizer steps of training came to: a line of steps.jsonl."""

from pydantic import ConfigDict, Field

from scenerec.frozen import Frozen


class StepMetrics(Frozen):
    """The means over the steps since the line before. Keys that are not known are left out when it is read.

    `loss` and `lr` are the same to the last bit however often the run was interrupted; what a clock measures is not.
    """

    model_config = ConfigDict(extra="ignore")

    epoch: int = Field(ge=1)
    """Number of the epoch, from 1."""
    step: int = Field(ge=1)
    """Steps done in this epoch."""
    steps: int = Field(ge=1)
    """Steps of an epoch."""
    global_step: int = Field(ge=1)
    """Optimizer steps done in the whole run."""
    loss: float
    """Mean training loss."""
    lr: float
    """Learning rate of the newest step."""
    images_per_s: float
    """Training images per second over all workers."""
    data_wait: float
    """Share of the time in which rank 0 waited for its next batch."""
    time_s: float
    """When the newest step ended, in seconds since 1970."""

    @property
    def epochs_done(self) -> float:
        """Epochs done, with the share of the one under way."""
        return self.epoch - 1 + self.step / self.steps
