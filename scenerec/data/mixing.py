"""Which images are mixed, and how much (mixup, CutMix): drawn once, in neutral terms, for both frameworks.

The partner of an image is the one at its place in the global batch before: position g of the epoch's sequence is mixed
with position g - B, and the first batch of an epoch with the last one of the epoch before. The first batch of a run has
itself for a partner, so that it stays as it is.

Whatever number of workers W divides B, g and g - B leave the same rest when divided by W: the same rank reads both, one
after the other, and it has the partner at hand, decoded. No other partner is always at hand. Two samples of one batch
are on one rank only by chance of W, and of one lane only where W divides the lanes. So neither the number of workers
nor that of accumulation steps changes who meets whom, ranks exchange nothing, nothing is decoded twice, and a resumed
run reads one batch more, before its first. An image is seen in two batches, as itself and as a partner; in papers'
programs, which mix a batch with itself turned round, twice in one.
"""

import math
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from scenerec.config.mix import MixConfig
from scenerec.data.augment import Stream, uniform_draws
from scenerec.data.order import batch_positions, steps_per_epoch
from scenerec.data.stream import Cursor, TrainingOrder, training_cursors

_GRID = 2**16  # of shares: coarser than what libraries of mathematics differ by, and exact in float32
_DRAWS = 6  # of an image: mixed or not, by which of both, two for the share, the centre of the rectangle

Array = TypeVar("Array")
Batch = TypeVar("Batch")


class Mixes(NamedTuple, Generic[Array]):
    """How each of n images is mixed with its partner, in arrays or a framework's tensors."""

    shares: Array
    """The image's own share of the target, float32 [n]; 1 where it is not mixed."""
    opacities: Array
    """The image's own share of the pixels outside the rectangle, float32 [n]."""
    boxes: Array
    """The rectangle of the partner's pixels, int32 [n, 4]: top, left, bottom, right; empty where there is none."""


@dataclass(frozen=True)
class Pairing:
    """What fixes who is mixed with whom in a run, how, and what is dropped of whom in the network."""

    config: MixConfig | None
    """None: nobody."""
    order: TrainingOrder
    samples: int
    """Samples of the training set."""

    def before(self, at: Cursor) -> Cursor | None:
        """The batch before the one at `at`, whose images are the partners; None of the run's first."""
        if at.step:
            return Cursor(at.epoch, at.step - 1)
        steps = steps_per_epoch(self.samples, self.order.global_batch_size)
        return Cursor(at.epoch - 1, steps - 1) if at.epoch else None

    def pairs(
        self, begin: Callable[[Cursor], Generator[Batch, None, None]], start: Cursor
    ) -> Generator[tuple[Cursor, Batch, Batch], None, None]:
        """Yields each of a reader's batches from `start` on with its place and the batch of the partners.

        `begin` reads a reader's batches from a place on; it is closed with this. Without partners it is the batch once
        more.
        """
        before = self.before(start) if self.config else None
        with closing(begin(before or start)) as batches:
            partners = next(batches, None) if before else None
            for at, batch in zip(training_cursors(self.samples, self.order, start), batches, strict=True):
                yield at, batch, batch if partners is None else partners
                partners = batch if self.config else None

    def positions(self, at: Cursor, reader: int, readers: int) -> np.ndarray:
        """Where a reader's images of the batch at `at` stand in its epoch, int64 [n]."""
        return batch_positions(at.step, self.order.global_batch_size, reader, readers)

    def mixes(self, at: Cursor, positions: np.ndarray, image_size: int) -> Mixes[np.ndarray] | None:
        """How the images at `positions` of the epoch are mixed; None where they stay as they are."""
        return draw_mixes(self.config, self.order.seed, at.epoch, positions, image_size) if self.config else None

    def drop_keys(self, at: Cursor, positions: np.ndarray) -> np.ndarray:
        """What dropout draws from for the images at `positions` of the epoch, int64 [n] in [0, 2^32)."""
        draws = uniform_draws(self.order.seed, at.epoch, Stream.DROP, positions, 1)[:, 0]
        return (draws * 2**32).astype(np.int64)


def draw_mixes(config: MixConfig, seed: int, epoch: int, positions: np.ndarray, image_size: int) -> Mixes[np.ndarray]:
    """How the images at `positions` of the epoch, int [n], are mixed; they are squares of `image_size` pixels.

    CutMix's rectangle has the image's aspect ratio and is cut at the borders; the shares go by what is left of it.
    """
    which, cut, first, second, *center = uniform_draws(seed, epoch, Stream.MIX, positions, _DRAWS).T
    cutmix_share = config.cutmix_share if config.mixup else 1.0
    cuts = (which < config.share) & (cut < (cutmix_share if config.cutmix else 0.0))
    blends = (which < config.share) & ~cuts & (config.mixup > 0)
    concentrations = np.select([cuts, blends], [config.cutmix, config.mixup], 1.0)
    shares = np.where(cuts | blends, symmetric_beta(concentrations, first, second), 1.0)
    centers = np.floor(np.stack(center, axis=1) * image_size)
    halves = np.floor(np.sqrt(1 - shares) / 2 * image_size)[:, None]
    corners = np.hstack([centers - halves, centers + halves]).clip(0, image_size)
    boxes = np.where(cuts[:, None], corners, 0).astype(np.int32)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    kept = np.where(cuts, 1 - areas / image_size**2, shares)
    return Mixes(kept.astype(np.float32), np.where(cuts, 1, shares).astype(np.float32), boxes)


def symmetric_beta(concentrations: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Numbers from Beta(a, a), a of `concentrations`, of two uniform ones in [0, 1) each; all are float64 [n].

    Devroye 1996 (Random variate generation in one line of code, section 2.3): without rejections, so that each takes
    two draws. Rounded to 2^-16.
    """
    with np.errstate(over="ignore", divide="ignore"):
        cosines = np.cos(2 * math.pi * second)
        spread = ((1 - first) ** (-1 / concentrations) - 1) * cosines**2
        values = (1 + np.sign(cosines) / np.sqrt(1 + 1 / spread)) / 2
    return np.rint(values * _GRID) / _GRID
