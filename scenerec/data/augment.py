"""Which part of an image the network sees, and in which colours: drawn once, in neutral terms, for both frameworks.

A draw depends on (seed, epoch, stream, position) alone, so it is the same in torch and TensorFlow, for any number of
workers and after a resume.
"""

from collections.abc import Callable
from enum import IntEnum, unique
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from scenerec.config.augment import AugmentConfig
from scenerec.data import erasing, operations
from scenerec.data.erasing import Erased
from scenerec.data.operations import Operations

AUGMENT_VERSION = 3
"""Version of the draws: a run goes on only with the version that it began with. It rises when an existing stream gives
other numbers or means something else, not when a stream is added. Version 1 drew everything from one stream; in
version 2 each change of the colours was clipped by itself."""

_AUGMENTATION = 2  # the place of these streams among order.py's


@unique
class Stream(IntEnum):
    """Streams of random numbers: each purpose has its own, so that none shifts another's. Numbers are never reused."""

    CROP = 1
    FLIP = 2
    BRIGHTNESS = 3
    CONTRAST = 4
    SATURATION = 5
    HUE = 6
    COLOR_SHARE = 7
    GRAY = 8
    BLUR = 9
    SOLARIZE = 10
    RAND_AUGMENT = 11
    TRIVIAL_AUGMENT = 12
    ERASE = 13
    COORDINATES = 20
    MIX = 40
    DROP = 41


SECOND_VIEW = 1000
"""What is added to these numbers for the second view of an image, whose draws are others."""

_CROP_ATTEMPTS = 10  # as torchvision's RandomResizedCrop
_CROP_DRAWS = 4  # of each attempt: area, aspect ratio, top, left
_BLUR_SIDE = 224  # the image_size for which deviations are given


class View(NamedTuple):
    """How one training image becomes the network's input; boxes in pixels of the image."""

    top: int
    left: int
    height: int
    width: int
    flip: bool
    """Mirrored left to right."""
    brightness: float
    """Factor, as in torchvision's adjust_brightness; 1 changes nothing."""
    contrast: float
    """Factor, as in torchvision's adjust_contrast; 1 changes nothing."""
    saturation: float
    """Factor, as in torchvision's adjust_saturation; 1 changes nothing."""
    hue: float
    """Turn of the colours, as a share of the circle; 0 changes nothing."""
    gray: bool = False
    """Without colours."""
    blur: float = 0.0
    """Deviation of a Gaussian blur, as a share of the network's image_size; 0 changes nothing."""
    solarize: bool = False
    """Bright levels inverted."""
    operations: Operations = ()
    """Of RandAugment or TrivialAugment, after the flip."""
    erased: Erased | None = None
    """The rectangle that is erased."""


class CenterCrop(NamedTuple):
    """How one image is prepared for evaluation: resized to (height, width), then cut at (top, left); in pixels."""

    height: int
    width: int
    top: int
    left: int


class _Boxes(NamedTuple):
    """One box for each image, in pixels; each int64 [n]."""

    top: np.ndarray
    left: np.ndarray
    height: np.ndarray
    width: np.ndarray


def uniform_draws(seed: int, epoch: int, stream: int, positions: np.ndarray, draws: int) -> np.ndarray:
    """Uniform numbers in [0, 1), float64 [n, draws], each by (seed, epoch, stream, position, draw) alone.

    Draw i of a position is the same however many `draws` are asked for. Positions are hashed by splitmix64's finaliser
    (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014), combined with a key for each
    draw, and hashed again; SeedSequence gives the same keys in every version of numpy (NEP 19).
    """
    keys = _keys(seed, epoch, stream, draws)
    hashed = _splitmix64(np.asarray(positions, dtype=np.uint64))
    bits = _splitmix64(hashed[:, None] ^ keys)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


@lru_cache(2 * len(Stream))  # of an epoch, whose batches are many
def _keys(seed: int, epoch: int, stream: int, draws: int) -> np.ndarray:
    return np.random.SeedSequence((seed, epoch, _AUGMENTATION, stream)).generate_state(draws, np.uint64)


def _splitmix64(bits: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        bits = bits + np.uint64(0x9E3779B97F4A7C15)
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def hidden_coordinates(config: AugmentConfig, seed: int, epoch: int, positions: np.ndarray) -> np.ndarray:
    """Of which images at `positions` of the epoch, int [n], the network is not told the coordinates; bool [n]."""
    return uniform_draws(seed, epoch, Stream.COORDINATES, positions, 1)[:, 0] < config.drop_coordinates


def training_views(
    config: AugmentConfig,
    seed: int,
    epoch: int,
    positions: np.ndarray,
    heights: np.ndarray,
    widths: np.ndarray,
    first_stream: int = 0,
) -> list[View]:
    """Views of the images at `positions` of the epoch, of `heights` by `widths` pixels; all are int [n].

    The numbers of their streams are counted from `first_stream` on.
    """

    def draw(stream: Stream, draws: int = 1) -> np.ndarray:
        return uniform_draws(seed, epoch, first_stream + stream, positions, draws)

    def chosen(share: float, stream: Stream) -> np.ndarray:
        return draw(stream)[:, 0] < share if share else np.zeros(len(positions), bool)

    colored = chosen(config.color_share, Stream.COLOR_SHARE) if config.color_share < 1 else True

    def around(center: float, most: float, stream: Stream) -> np.ndarray:
        if not most:
            return np.full(len(positions), center)
        return np.where(colored, _between(draw(stream)[:, 0], center - most, center + most), center)

    columns = {
        **_random_crops(config, draw(Stream.CROP, _CROP_ATTEMPTS * _CROP_DRAWS), heights, widths)._asdict(),
        "flip": (draw(Stream.FLIP)[:, 0] < 0.5) & config.flip,
        "brightness": around(1, config.color_jitter, Stream.BRIGHTNESS),
        "contrast": around(1, config.color_jitter, Stream.CONTRAST),
        "saturation": around(1, config.saturation_jitter, Stream.SATURATION),
        "hue": around(0, config.hue, Stream.HUE),
        "gray": chosen(config.gray, Stream.GRAY),
        "blur": _blurs(config, draw(Stream.BLUR, 2)) if config.blur else np.zeros(len(positions)),
        "solarize": chosen(config.solarize, Stream.SOLARIZE),
    }
    rows = zip(
        *(columns[field].tolist() for field in columns),
        _operations(config, draw) or [()] * len(positions),
        erasing.random_erasing(config, draw(Stream.ERASE, erasing.DRAWS)) if config.erase else [None] * len(positions),
        strict=True,
    )
    return [View._make(row) for row in rows]


def _operations(config: AugmentConfig, draw: Callable[[Stream, int], np.ndarray]) -> list[Operations] | None:
    if config.rand_augment:
        draws = draw(Stream.RAND_AUGMENT, config.rand_augment.num_ops * operations.DRAWS)
        return operations.rand_augment(config.rand_augment, draws)
    if config.trivial_augment:
        return operations.trivial_augment(draw(Stream.TRIVIAL_AUGMENT, operations.DRAWS))
    return None


def _random_crops(config: AugmentConfig, draws: np.ndarray, heights: np.ndarray, widths: np.ndarray) -> _Boxes:
    """torchvision's RandomResizedCrop (Szegedy et al. 2014), by uniform `draws` [n, attempts * 4].

    Of several tries of an area and a log-uniform aspect ratio the first that fits, else the largest centred crop whose
    ratio is allowed.
    """
    attempts = draws.shape[1] // _CROP_DRAWS
    area_draw, ratio_draw, top_draw, left_draw = np.moveaxis(draws.reshape(-1, attempts, _CROP_DRAWS), 2, 0)
    area = (heights * widths)[:, None] * _between(area_draw, *config.crop_scale)
    ratio = np.exp(_between(ratio_draw, np.log(config.crop_ratio[0]), np.log(config.crop_ratio[1])))
    tried_widths = np.rint(np.sqrt(area * ratio)).astype(np.int64)
    tried_heights = np.rint(np.sqrt(area / ratio)).astype(np.int64)
    fits = (tried_widths > 0) & (tried_widths <= widths[:, None])
    fits &= (tried_heights > 0) & (tried_heights <= heights[:, None])
    rows, first = np.arange(len(draws)), fits.argmax(axis=1)
    height, width = tried_heights[rows, first], tried_widths[rows, first]
    top = np.floor(top_draw[rows, first] * (heights - height + 1)).astype(np.int64)
    left = np.floor(left_draw[rows, first] * (widths - width + 1)).astype(np.int64)
    centred = _largest_centred(heights, widths, config.crop_ratio)
    return _Boxes(*np.where(fits.any(axis=1), (top, left, height, width), centred))


def _blurs(config: AugmentConfig, draws: np.ndarray) -> np.ndarray:
    """Deviations [n] over the image_size, by uniform `draws` [n, 2]: whether an image is blurred, and how much."""
    return np.where(draws[:, 0] < config.blur, _between(draws[:, 1], *config.blur_sigma) / _BLUR_SIDE, 0)


def _largest_centred(heights: np.ndarray, widths: np.ndarray, ratios: tuple[float, float]) -> _Boxes:
    narrowest, widest = ratios
    ratio = widths / heights
    height = np.where(ratio < narrowest, np.rint(widths / narrowest), heights).astype(np.int64)
    width = np.where(ratio > widest, np.rint(heights * widest), widths).astype(np.int64)
    return _Boxes((heights - height) // 2, (widths - width) // 2, height, width)


def _between(draws: np.ndarray, low: float, high: float) -> np.ndarray:
    return low + draws * (high - low)


def center_crop(height: int, width: int, image_size: int, crop_ratio: float) -> CenterCrop:
    """The centre crop of an image of `height` by `width` pixels for a network that sees `image_size` pixels.

    The short side is resized to image_size / crop_ratio, the aspect ratio kept, and the central square cut out.
    """
    short_side = max(round(image_size / crop_ratio), image_size)
    scale = short_side / min(height, width)
    resized_height = max(round(height * scale), image_size)
    resized_width = max(round(width * scale), image_size)
    top, left = (resized_height - image_size) // 2, (resized_width - image_size) // 2
    return CenterCrop(resized_height, resized_width, top, left)
