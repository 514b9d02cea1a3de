"""Precise BatchNorm: running statistics re-estimated from training images, while a run is too short for their momentum.

Wu and Johnson 2021, Rethinking "Batch" in BatchNorm, section 3: the network as it stands goes over fixed batches, each
of which normalises by its own statistics, and these are aggregated. A running average instead holds what the network
had when training began, with a weight of (1 - momentum) ** steps.
"""

from dataclasses import dataclass
from math import ceil, log, log1p

import numpy as np

from scenerec.config.train import LearningConfig
from scenerec.models.zoo import architecture

_IMAGES = 512
_BATCH_SIZE = 32
# What the initial variance of 1 may weigh beside variances of 1e-4, as depthwise convolutions have. A MobileNetV3-small
# whose estimate is right has 71.9 % top-1; with the initial values mixed in by 1e-5, 1e-4, 1e-3 and 1e-2 it has 71.3,
# 70.1, 56.9 and 8.4 % (12 classes).
_FORGOTTEN = 1e-5


@dataclass(frozen=True)
class PreciseBatchNorm:
    """When a run's BatchNorm statistics are re-estimated, and from how many images."""

    images: int
    """Training images, the same each time; a multiple of `batch_size`."""
    batch_size: int
    """Images that are normalised by their common statistics, whatever the number of workers."""
    until_step: int | None
    """Steps of the run from which on the running averages stay as they are; None where they never do."""
    passes: int
    """Forward passes over the images each time: 2 where the weights are averaged too."""

    @property
    def batches(self) -> int:
        """Batches of all ranks together."""
        return self.images // self.batch_size

    def is_due(self, steps: int) -> bool:
        """Whether a validation or checkpoint after so many steps of the run needs the estimate."""
        return self.until_step is None or steps < self.until_step

    def __str__(self) -> str:
        until = "" if self.until_step is None else f" before step {self.until_step:,}"
        passes = "" if self.passes == 1 else ", once for the weights and once for their averages"
        return f"statistics from {self.images} training images{passes}, at each validation and checkpoint{until}"


def plan_precise_batchnorm(config: LearningConfig, samples: int, steps_per_epoch: int) -> PreciseBatchNorm | None:
    """How a run over `samples` training images re-estimates statistics; None where it does not.

    `auto` does while the initial statistics have a weight above 0.001 % in the running averages, which is none of the
    time where the first validation or checkpoint comes later. Where the weights are averaged it always does: the
    running averages are those of other weights.
    """
    optimize, momentum = config.optimize, architecture(config.model.arch).batchnorm_momentum
    if momentum is None or optimize.precise_batchnorm == "never" or config.model.freeze == "backbone":
        return None
    always = optimize.precise_batchnorm == "always" or optimize.ema_decay > 0
    until = None if always else steps_to_forget(momentum, optimize.accumulate_steps)
    if until is not None and min(steps_per_epoch, config.checkpoint.every_steps) >= until:
        return None
    batch_size = min(_BATCH_SIZE, samples)
    images = min(_IMAGES, samples) // batch_size * batch_size
    return PreciseBatchNorm(images, batch_size, until, passes=2 if optimize.ema_decay else 1)


def steps_to_forget(momentum: float, updates_per_step: int = 1) -> int:
    """The fewest steps after which the initial value weighs 0.001 % or less in a running average of `momentum`."""
    return ceil(log(_FORGOTTEN) / (log1p(-momentum) * updates_per_step))


def population(moments: np.ndarray) -> np.ndarray:
    """Mean and variance over all batches, float64 [2, channels].

    `moments` are the mean and the biased variance within each of several batches of one size, [batches, 2, channels].
    They are added in their order, so that the result does not depend on which rank measured which batch.
    """
    means, variances = moments[:, 0], moments[:, 1]
    mean = means.mean(axis=0)
    return np.stack([mean, variances.mean(axis=0) + np.square(means - mean).mean(axis=0)])
