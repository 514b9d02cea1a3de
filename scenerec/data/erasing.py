"""Which rectangle of an image is erased (Zhong et al. 2020), in neutral terms, as torchvision's RandomErasing draws it.

In shares of the image's side, so that it is the same at any size.
"""

from typing import NamedTuple

import numpy as np

from scenerec.config.augment import AugmentConfig

DRAWS = 2 + 10 * 4
"""Numbers that are drawn for each image: whether, the noise, and tries as torchvision's; of each area, ratio, place."""


class Erased(NamedTuple):
    """A rectangle that is erased: its size in shares of the image's side, its place in shares of the room left."""

    top: float
    left: float
    height: float
    width: float
    noise: int | None
    """What the noise is drawn from that fills it; None where it is filled with the mean colour."""

    def box(self, side: int) -> tuple[int, int, int, int]:
        """Its top, left, height and width in pixels of an image of `side` by `side`."""
        height, width = round(self.height * side), round(self.width * side)
        return int(self.top * (side - height + 1)), int(self.left * (side - width + 1)), height, width


def random_erasing(config: AugmentConfig, draws: np.ndarray) -> list[Erased | None]:
    """The rectangles of n images, by uniform `draws` [n, DRAWS]; None where nothing is erased.

    Of several tries of an area and a log-uniform aspect ratio the first that fits.
    """
    chosen, noise = draws[:, 0] < config.erase, (draws[:, 1] * 2.0**53).astype(np.int64)
    area, ratio, top, left = np.moveaxis(draws[:, 2:].reshape(len(draws), -1, 4), 2, 0)
    low, high = config.erase_scale
    area = low + area * (high - low)
    narrow, tall = np.log(config.erase_ratio)
    ratio = np.exp(narrow + ratio * (tall - narrow))
    heights, widths = np.sqrt(area * ratio), np.sqrt(area / ratio)
    fits = (heights < 1) & (widths < 1)
    rows, first = np.arange(len(draws)), fits.argmax(axis=1)
    places = (part[rows, first].tolist() for part in (top, left, heights, widths))
    noises = noise.tolist() if config.erase_mode == "pixel" else [None] * len(draws)
    erased = (chosen & fits.any(axis=1)).tolist()
    return [Erased._make(row) if one_is else None for *row, one_is in zip(*places, noises, erased, strict=True)]
