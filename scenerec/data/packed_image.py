"""The images of packed sets as both frameworks decode them: upright since they were packed, and of bounded size."""

from contextlib import suppress

import numpy as np
import simplejpeg

from scenerec.data.augment import CenterCrop
from scenerec.data.picture import Picture, PictureError, least_for, resize_and_crop
from scenerec.errors import DataError, first_line

_JPEG = b"\xff\xd8\xff"


def decode(encoded: bytes) -> np.ndarray:
    """Decodes to uint8 RGB [height, width, 3]. Raises PictureError."""
    return Picture(encoded).stored()


def evaluation_pixels(encoded: bytes, crop: CenterCrop, image_size: int) -> np.ndarray:
    """What the network sees of an image that is evaluated: uint8 RGB [image_size, image_size, 3], as serving makes it.

    In order: resize (bilinear, antialiased), crop. Raises PictureError.
    """
    return resize_and_crop(Picture(encoded).stored(least_for(crop.height, crop.width)), crop, image_size)


def image_size(encoded: bytes, name: str) -> tuple[int, int]:
    """Reads (height, width) in pixels from an image's header. Raises DataError that names the image."""
    if encoded.startswith(_JPEG):
        with suppress(ValueError):  # in a tenth of the time
            return simplejpeg.decode_jpeg_header(encoded)[:2]
    try:
        picture = Picture(encoded)
    except PictureError as error:
        raise undecodable(name, error) from None
    return picture.height, picture.width


def undecodable(name: str, error: Exception) -> DataError:
    """The error for an image of a packed set that cannot be used."""
    return DataError(f"{name}: {first_line(error)}: find all such with `scenerec data verify`, then pack again")
