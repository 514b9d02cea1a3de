"""The images of packed sets as both frameworks decode them: upright since they were packed, and of bounded size."""

import numpy as np

from scenerec.data.augment import CenterCrop
from scenerec.data.picture import Picture, PictureError, resize_and_crop
from scenerec.errors import DataError, first_line

_LARGEST_RESIZED = 16
"""Of an image's resized area, over that of the network's input: beyond it only the crop is resized. An image of 12:1
has less; one of 2 x 16000 pixels would be resized to 256 x 2,048,000."""


def decode(encoded: bytes) -> np.ndarray:
    """Decodes to uint8 RGB [height, width, 3]. Raises PictureError."""
    return Picture(encoded).stored()


def decode_for(crop: CenterCrop, encoded: bytes, image_size: int) -> tuple[np.ndarray, CenterCrop]:
    """Decodes what an evaluation's crop needs of an image: uint8 RGB [height, width, 3], and the crop of that.

    That is the whole image, but for one of extreme proportions, which is resized and cropped here. Raises PictureError.
    """
    pixels = decode(encoded)
    if crop.height * crop.width <= _LARGEST_RESIZED * image_size**2:
        return pixels, crop
    return resize_and_crop(pixels, crop, image_size).copy(), CenterCrop(image_size, image_size, 0, 0)


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
