"""What is measured of a picture to tell whether it is in a data set twice, or of little use. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from scenerec.data.quality.features import picture_features

GREY_SIDE = 16
COLOUR_SIDE = 4
_HASH_SIDE, _FREQUENCIES = 32, 8
_SHARP_SIDE = 512  # to which a longer short side is shrunk: what is blurred only in full size does no harm
_LEAST_ENERGY = 0.2  # levels: of a picture without any texture
_GREY = np.array((0.299, 0.587, 0.114), np.float32)


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """A picture, by what compares it with others."""

    path: str
    """Its file, relative to the folder; in a packed set SHARD:KEY."""
    split: str
    """Its split; empty where there is one only."""
    class_name: str
    """Its class."""
    digest: bytes
    """Digest of its encoded bytes."""
    height: int = 0
    """In pixels, upright."""
    width: int = 0
    """In pixels, upright."""
    bits: int = 0
    """Perceptual hash: alike pictures differ in few of its 64 bits."""
    grey: bytes = b""
    """Grey levels of the picture shrunk to 16 x 16, spread from 0 to 255."""
    colours: bytes = b""
    """RGB of the picture shrunk to 4 x 4."""
    brightness: float = 0.0
    """Mean grey level, from 0 to 255."""
    contrast: float = 0.0
    """Deviation of the grey levels."""
    sharpness: float = 0.0
    """How much of its texture is of the finest kind; near 0 of a blurred one."""
    features: bytes = b""
    """What `scenerec.data.quality.features` makes of it, float16; empty where that was not asked for."""
    unreadable: str = ""
    """Why it cannot be decoded; nothing else is known then."""


def measure(
    path: str, split: str, class_name: str, digest: bytes, pixels: np.ndarray, with_features: bool = False
) -> PictureFacts:
    """The facts of a decoded picture, uint8 RGB [height, width, 3], upright; its features only where it is said."""
    height, width = pixels.shape[:2]
    image = Image.fromarray(pixels)
    grey = image.convert("L")
    if (short := min(height, width)) > _SHARP_SIDE:
        sides = (max(round(side * _SHARP_SIDE / short), 1) for side in (width, height))
        grey = grey.resize(tuple(sides), Image.Resampling.BOX)
    levels = np.asarray(grey, np.float32)
    return PictureFacts(
        path=path,
        split=split,
        class_name=class_name,
        digest=digest,
        height=height,
        width=width,
        bits=perceptual_hash(_small_grey(image, _HASH_SIDE)),
        grey=_spread(_small_grey(image, GREY_SIDE)).tobytes(),
        colours=image.resize((COLOUR_SIDE, COLOUR_SIDE), Image.Resampling.BOX).tobytes(),
        brightness=float(levels.mean()),
        contrast=float(levels.std()),
        sharpness=sharpness(grey),
        features=picture_features(pixels).tobytes() if with_features else b"",
    )


def perceptual_hash(grey: np.ndarray) -> int:
    """64 bits of float [32, 32] grey levels: which low frequencies exceed their median (pHash, Zauner 2010)."""
    places = np.arange(_HASH_SIDE)
    cosines = np.cos(np.pi / _HASH_SIDE * (places + 0.5) * np.arange(1, _FREQUENCIES + 1)[:, None])
    frequencies = cosines @ grey @ cosines.T
    bits = (frequencies > np.median(frequencies)).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def sharpness(grey: Image.Image) -> float:
    """The deviation of the finest octave of a grey picture over that of one two octaves coarser.

    Those of photographs are alike (Field, Relations between the statistics of natural images, JOSA A 4, 1987); blur
    takes the finest one away, and noise does not.
    """
    original, fine, middle, coarse = (np.asarray(each, np.float32) for each in (grey, *map(_blurred(grey), (1, 2, 4))))
    return float((original - fine).std() / ((middle - coarse).std() + _LEAST_ENERGY))


def _blurred(grey: Image.Image) -> Callable[[int], Image.Image]:
    return lambda sigma: grey.filter(ImageFilter.GaussianBlur(sigma))


def _small_grey(image: Image.Image, side: int) -> np.ndarray:
    return np.asarray(image.resize((side, side), Image.Resampling.BOX), np.float32) @ _GREY


def _spread(levels: np.ndarray) -> np.ndarray:
    """Levels as uint8 whose darkest is 0 and whose brightest is 255: also those of a dull picture keep their shape."""
    low, high = levels.min(), levels.max()
    return np.zeros(levels.shape, np.uint8) if low == high else (255 * (levels - low) / (high - low)).astype(np.uint8)
