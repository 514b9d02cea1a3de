"""Two views of each image, from which self-supervised pretraining learns: drawn in neutral terms, as one view is.

The first is drawn as that of supervised training; the second has streams of its own.
"""

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from scenerec.config.augment import AugmentConfig
from scenerec.data.augment import SECOND_VIEW, View, training_views
from scenerec.data.colors import color_matrices
from scenerec.models.preprocessing import IMAGENET, WeightPreprocessing

Batch = TypeVar("Batch")


class ViewPair(NamedTuple):
    """How one image is seen twice."""

    first: View
    second: View


class PairBatch(NamedTuple, Generic[Batch]):
    """One rank's share of a batch, seen twice, in a framework's batches: the same images in the same order."""

    first: Batch
    second: Batch
    names: Sequence[str]
    """Shard and key of each image."""


def view_pairs(
    first: AugmentConfig,
    second: AugmentConfig,
    seed: int,
    epoch: int,
    positions: np.ndarray,
    heights: np.ndarray,
    widths: np.ndarray,
) -> list[ViewPair]:
    """Pairs of views of the images at `positions` of the epoch, of `heights` by `widths` pixels; all are int [n]."""
    firsts = training_views(first, seed, epoch, positions, heights, widths)
    seconds = training_views(second, seed, epoch, positions, heights, widths, SECOND_VIEW)
    return list(map(ViewPair, firsts, seconds))


def pair_color_matrices(
    pairs: Sequence[ViewPair], means: np.ndarray, solarizes: bool = False, preprocessing: WeightPreprocessing = IMAGENET
) -> np.ndarray:
    """As `color_matrices`, of both views: means [2, n, 3] become [2, n, 3, 4 or 5]."""
    views_of = [pair.first for pair in pairs], [pair.second for pair in pairs]
    of_views = zip(views_of, means, strict=True)
    return np.stack([color_matrices(views, mean, solarizes, preprocessing) for views, mean in of_views])
