"""The images of packed sets as both frameworks decode them: upright since they were packed, and of bounded size."""

import numpy as np

from scenerec.data.augment import CenterCrop
from scenerec.data.picture import Picture, PictureError, least_for, resize_and_crop
from scenerec.errors import DataError, first_line


def decode(encoded: bytes) -> np.ndarray:
    """Decodes to uint8 RGB [height, width, 3]. Raises PictureError."""
    return Picture(encoded).stored()


def evaluation_pixels(encoded: bytes, crop: CenterCrop, image_size: int, out: np.ndarray | None = None) -> np.ndarray:
    """What the network sees of an image that is evaluated: uint8 RGB [image_size, image_size, 3], as serving makes it.

    In order: resize (bilinear, antialiased), crop. The result is written to `out`, where that is given. Raises
    PictureError.
    """
    pixels = resize_and_crop(Picture(encoded).stored(least_for(crop.height, crop.width)), crop, image_size)
    if out is None:
        return pixels
    out[:] = pixels
    return out


def image_size(encoded: bytes, name: str) -> tuple[int, int]:
    """Reads (height, width) in pixels from an image's header. Raises DataError that names the image."""
    try:
        picture = Picture(encoded)
    except PictureError as error:
        raise undecodable(name, error) from None
    return picture.height, picture.width


def undecodable(name: str, error: Exception) -> DataError:
    """The error for an image of a packed set that cannot be used."""
    return DataError(f"{name}: {first_line(error)}: find all such with `scenerec data verify`, then pack again")
