"""The images of packed sets as both frameworks decode them: upright, and of bounded size.

What was packed here is upright as it is stored. Shards that somebody else wrote may have pictures that EXIF must turn.
"""

import numpy as np

from scenerec.data.augment import CenterCrop
from scenerec.data.picture import Picture, PictureError, least_for, resize_and_crop
from scenerec.errors import DataError, first_line
from scenerec.models.preprocessing import Interpolation


def decode(encoded: bytes) -> np.ndarray:
    """Decodes to upright uint8 RGB [height, width, 3]. Raises PictureError."""
    return Picture(encoded).upright()


def evaluation_pixels(
    encoded: bytes,
    crop: CenterCrop,
    image_size: int,
    out: np.ndarray | None = None,
    interpolation: Interpolation = "bilinear",
) -> np.ndarray:
    """What the network sees of an image that is evaluated: uint8 RGB [image_size, image_size, 3], as serving makes it.

    In order: turn upright, resize (antialiased), crop. The result is written to `out`, where that is given.
    Raises PictureError.
    """
    upright = Picture(encoded).upright(least_for(crop.height, crop.width))
    pixels = resize_and_crop(upright, crop, image_size, interpolation)
    if out is None:
        return pixels
    out[:] = pixels
    return out


def image_size(encoded: bytes, name: str) -> tuple[int, int]:
    """Reads (height, width) of the upright image in pixels from its header. Raises DataError that names the image."""
    try:
        return Picture(encoded).upright_size
    except PictureError as error:
        raise undecodable(name, error) from None


def undecodable(name: str, error: Exception) -> DataError:
    """The error for an image of a packed set that cannot be used."""
    return DataError(f"{name}: {first_line(error)}: find all such with `scenerec data verify`, then pack again")
