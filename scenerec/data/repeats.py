"""Repeated augmentation: each image of a batch is in it several times, each time with another view.

Hoffer et al. 2020, Augment Your Batch; the epochs' length is that of timm's RepeatAugSampler.
A global batch of B positions takes K items, about B / repeats, and its position j has item j mod K. So that epochs keep
their length, and each takes other images, an epoch is one part of a *round*: `repeats` epochs that together go once
through the order of the data (order.py), a batch taking its next K items. Pure arithmetic, as all of the order.
"""

import math
from dataclasses import dataclass

import numpy as np

_MOST_LEFT_OUT = 16  # of the items that a batch could have, one in so many, for the sake of fewer fetches


@dataclass(frozen=True)
class Repeats:
    """Which items of a round each position of a run has. With `repeats` 1 a round is an epoch, an item a position."""

    repeats: int
    """How often each image of a batch is in it, at least."""
    global_batch_size: int
    lanes: int

    @property
    def items_per_batch(self) -> int:
        """K, the different items of a global batch.

        It is a multiple of what divides both the batch and the lanes, as numbers of workers mostly do, where that
        leaves out little: then all copies of an image are on one worker, which reads its own lanes alone.
        """
        items = self.global_batch_size // self.repeats
        even = items - items % math.gcd(self.global_batch_size, self.lanes)
        return even if (items - even) * _MOST_LEFT_OUT <= items else items

    def round_of(self, epoch: int) -> int:
        """The round that an epoch is part of."""
        return epoch // self.repeats

    def first_item(self, epoch: int, step: int, steps_per_epoch: int) -> int:
        """The first item that a batch takes of its round. One after an epoch's last is that of the next epoch."""
        return (epoch % self.repeats * steps_per_epoch + step) * self.items_per_batch

    def items(self, epoch: int, step: int, steps_per_epoch: int, positions: np.ndarray) -> np.ndarray:
        """The items of some of a batch's `positions` in its epoch, int64 [n]."""
        within = positions - step * self.global_batch_size
        return self.first_item(epoch, step, steps_per_epoch) + within % self.items_per_batch

    def parts(self, readers: int) -> int:
        """Among how many readers the items are parted: reader r has those that leave r; 1 where each may have any."""
        is_even = self.global_batch_size % readers == 0 == self.items_per_batch % readers
        return readers if self.repeats == 1 or is_even else 1
