"""What an epoch of training came to: a line of metrics.jsonl, and an entry of a checkpoint's and a trial's history."""

from collections.abc import Mapping
from math import nan
from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, model_serializer, model_validator

from scenerec.frozen import Frozen

VALIDATION_PREFIX = "val_"
"""Keys of validation metrics begin with this, in every file and log line."""


def _null_to_nan(value: object) -> object:
    return nan if value is None else value


Number = Annotated[float, BeforeValidator(_null_to_nan)]
"""A float that JSON writes as null where it is not finite, such as the loss of a run that has diverged."""


class EpochMetrics(Frozen):
    """The metrics of one finished epoch. In JSON it is one flat object: `validation` lies between the other keys.

    Keys that are not known are left out when it is read, those that a file lacks take the defaults: files of other
    versions load.
    """

    model_config = ConfigDict(extra="ignore")

    epoch: int
    """Number of the epoch, from 1."""
    global_step: int = 0
    """Optimizer steps of the whole run at its end."""
    train_loss: Number = nan
    """Mean training loss over the epoch's steps."""
    validation: dict[str, Number]
    """Metrics over the validation set, by key: those of the run's task, such as val_loss and val_top1."""
    images_per_s: Number = nan
    """Training images per second over all workers."""
    lr: Number = nan
    """Learning rate of the epoch's last step."""
    data_wait: float | None = None
    """Share of the epoch's training time in which a worker waited for its next batch: of the worker that waited
    longest. None of a run of a version that did not measure it."""
    fetched_bytes_per_s: float | None = None
    """Bytes of shards that all workers fetched in a second of training. None as above."""
    workers: int = 1
    """Workers that trained at its end."""
    framework: str = ""
    """Framework that trained at its end: torch or tensorflow."""
    time_s: float = 0.0
    """When it ended, in seconds since 1970."""

    @model_validator(mode="before")
    @classmethod
    def _gather_validation(cls, values: object) -> object:
        if not isinstance(values, Mapping) or "validation" in values:
            return values
        return {**values, "validation": {key: values[key] for key in values if key.startswith(VALIDATION_PREFIX)}}

    @model_serializer
    def as_dict(self) -> dict[str, int | float | str]:
        """One flat object of JSON values, in the order of metrics.jsonl."""
        return {
            "epoch": self.epoch,
            "global_step": self.global_step,
            "train_loss": self.train_loss,
            **self.validation,
            "images_per_s": self.images_per_s,
            "lr": self.lr,
            **self._of_input(),
            "workers": self.workers,
            "framework": self.framework,
            "time_s": self.time_s,
        }

    def scalars(self) -> dict[str, float]:
        """What is drawn over the epochs: losses, validation metrics, images/s, learning rate, data wait and bytes/s."""
        return {
            "train_loss": self.train_loss,
            **self.validation,
            "images_per_s": self.images_per_s,
            "lr": self.lr,
            **self._of_input(),
        }

    def _of_input(self) -> dict[str, float]:
        values = {"data_wait": self.data_wait, "fetched_bytes_per_s": self.fetched_bytes_per_s}
        return {key: value for key, value in values.items() if value is not None}
