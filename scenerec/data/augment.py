"""Which part of an image the network sees, and in which colours: drawn once, in neutral terms, for both frameworks.

A draw depends on (seed, epoch, position) alone, so it is the same in torch and TensorFlow, for any number of workers
and after a resume.
"""

from typing import NamedTuple

import numpy as np

from scenerec.config.train import AugmentConfig

_ATTEMPTS = 10  # of a random crop, as torchvision's RandomResizedCrop
_DRAWS = 4 * _ATTEMPTS + 4


class View(NamedTuple):
    """How one training image becomes the network's input; boxes in pixels of the image."""

    top: int
    left: int
    height: int
    width: int
    flip: bool
    brightness: float
    contrast: float
    saturation: float


class CenterCrop(NamedTuple):
    """Evaluation: resize to (height, width), then crop the square at (top, left); in pixels."""

    height: int
    width: int
    top: int
    left: int


def uniform_draws(seed: int, epoch: int, positions: np.ndarray, draws: int) -> np.ndarray:
    """Uniform numbers in [0, 1), float64 [n, draws], each by (seed, epoch, position, draw) alone.

    A counter hashed by splitmix64's finaliser (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators,
    OOPSLA 2014), applied twice.
    """
    key = np.random.SeedSequence((seed, epoch, 2)).generate_state(1, np.uint64)[0]
    counters = np.asarray(positions, dtype=np.uint64)[:, None] * np.uint64(draws) + np.arange(draws, dtype=np.uint64)
    bits = _splitmix64(_splitmix64(counters) ^ key)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _splitmix64(bits: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        bits = bits + np.uint64(0x9E3779B97F4A7C15)
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def training_views(
    config: AugmentConfig,
    seed: int,
    epoch: int,
    positions: np.ndarray,
    heights: np.ndarray,
    widths: np.ndarray,
) -> list[View]:
    """Views of the images at `positions` of the epoch, whose sizes in pixels are `heights` and `widths`, each int [n].

    The crop is torchvision's RandomResizedCrop (Szegedy et al. 2014): ten tries of an area and a log-uniform aspect
    ratio, then the largest centred crop whose ratio is allowed.
    """
    draws = uniform_draws(seed, epoch, positions, _DRAWS)
    tries = draws[:, : 4 * _ATTEMPTS].reshape(-1, 4, _ATTEMPTS)
    area = (heights * widths)[:, None] * _between(tries[:, 0], *config.crop_scale)
    ratio = np.exp(_between(tries[:, 1], np.log(config.crop_ratio[0]), np.log(config.crop_ratio[1])))
    width = np.rint(np.sqrt(area * ratio)).astype(np.int64)
    height = np.rint(np.sqrt(area / ratio)).astype(np.int64)
    fits = (width > 0) & (width <= widths[:, None]) & (height > 0) & (height <= heights[:, None])
    chosen = fits.argmax(axis=1)
    rows = np.arange(len(draws))
    height, width, fitting = height[rows, chosen], width[rows, chosen], fits[rows, chosen]
    top = np.floor(tries[rows, 2, chosen] * (heights - height + 1)).astype(np.int64)
    left = np.floor(tries[rows, 3, chosen] * (widths - width + 1)).astype(np.int64)
    flips = (draws[:, -4] < 0.5) & config.flip
    colors = _between(draws[:, -3:], 1 - config.color_jitter, 1 + config.color_jitter)
    views = []
    for row in rows:
        box = (int(top[row]), int(left[row]), int(height[row]), int(width[row]))
        if not fitting[row]:
            box = _largest_centered(int(heights[row]), int(widths[row]), config.crop_ratio)
        brightness, contrast, saturation = colors[row].tolist()
        views.append(View(*box, bool(flips[row]), brightness, contrast, saturation))
    return views


def _between(draws: np.ndarray, low: float, high: float) -> np.ndarray:
    return low + draws * (high - low)


def _largest_centered(height: int, width: int, ratios: tuple[float, float]) -> tuple[int, int, int, int]:
    crop_height, crop_width = height, width
    if width / height < ratios[0]:
        crop_height = min(height, round(width / ratios[0]))
    elif width / height > ratios[1]:
        crop_width = min(width, round(height * ratios[1]))
    return (height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width


def center_crop(height: int, width: int, image_size: int, crop_ratio: float) -> CenterCrop:
    """Resize the short side to image_size / crop_ratio, keep the aspect ratio, crop the central square."""
    short_side = max(round(image_size / crop_ratio), image_size)
    scale = short_side / min(height, width)
    resized_height = max(round(height * scale), image_size)
    resized_width = max(round(width * scale), image_size)
    top, left = (resized_height - image_size) // 2, (resized_width - image_size) // 2
    return CenterCrop(resized_height, resized_width, top, left)
