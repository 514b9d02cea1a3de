"""What a source file becomes in a shard: its pixels kept as they are coded where it is plain, else re-encoded."""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from scenerec.data.packing.formats import format_name, open_source
from scenerec.data.packing.metadata import without_metadata
from scenerec.data.picture import FULL_SIZE, UPRIGHT, Picture, turn_upright

_LOSSLESS = ("GIF", "BMP")
"""Formats that become PNGs, so that packing takes nothing from their pictures."""


class PackedImage(NamedTuple):
    """An image as a shard stores it."""

    content: bytes
    suffix: str
    """`jpg` or `png`."""
    converted: bool
    """Whether it was re-encoded: for its format, its pixel format (CMYK, 16 bit, palette, alpha) or orientation."""
    resized: bool
    """Whether it was shrunk to the short side."""
    stripped: bool
    """Whether metadata was cut out of it, and its pixels left as they were coded."""
    format: str
    """That of the source file, by the name that people know."""


def pack_image(
    content: bytes, short_side: int | None = None, quality: int = 90, keep_metadata: bool = False
) -> PackedImage:
    """Decodes a picture completely, and makes it an upright 8-bit RGB JPEG or PNG if it is not yet plain.

    An image whose short side exceeds `short_side` pixels is shrunk to it; none is enlarged. What is transparent becomes
    white. What is shrunk, or came as anything but a GIF or BMP, becomes a JPEG. Metadata is taken out of what is plain,
    unless it is to be kept, and lost by what is re-encoded. Raises PictureError.
    """
    picture = open_source(content)
    target = _shrunk(picture.height, picture.width, short_side)
    pixels = picture.stored(_least(picture, target) if target else FULL_SIZE)
    plain = picture.is_plain and picture.orientation == UPRIGHT
    name, lossless = format_name(picture), picture.format in _LOSSLESS
    if plain and not target:
        bare = content if keep_metadata else without_metadata(content)
        if bare is not None:
            suffix = "png" if picture.format == "PNG" else "jpg"
            return PackedImage(bare, suffix, False, False, len(bare) < len(content), name)
        plain = False  # but its pixels are, so a PNG stays one
        lossless = picture.format == "PNG"
    image = Image.fromarray(pixels)
    if target:
        image = image.resize(target[::-1], Image.Resampling.LANCZOS)
    image = Image.fromarray(turn_upright(np.asarray(image), picture.orientation))
    buffer = io.BytesIO()
    as_png = lossless and not target
    image.save(buffer, "PNG" if as_png else "JPEG", quality=quality)
    return PackedImage(buffer.getvalue(), "png" if as_png else "jpg", not plain, target is not None, False, name)


def _least(picture: Picture, target: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a half, a quarter or an eighth that leaves twice the target; else of the whole."""
    reduction = min(picture.height // (2 * target[0]), picture.width // (2 * target[1]))
    divisor = next(divisor for divisor in (8, 4, 2, 1) if divisor <= max(reduction, 1))
    return -(-picture.height // divisor), -(-picture.width // divisor)


def _shrunk(height: int, width: int, short_side: int | None) -> tuple[int, int] | None:
    """Height and width with the given short side; None for an image that is not larger."""
    if short_side is None or min(height, width) <= short_side:
        return None
    scale = short_side / min(height, width)
    return max(short_side, round(height * scale)), max(short_side, round(width * scale))
