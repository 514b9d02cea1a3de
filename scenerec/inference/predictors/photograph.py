"""From the bytes of a photograph to what a network sees: quickly, and safely for bytes from anywhere.

The result is evaluation's, bit for bit (`scenerec.data.packed_image.evaluation_pixels`): resize the short side with a
bilinear, antialiased filter, crop the centre. A JPEG that is much larger is decoded at less than its size, as long as
that leaves twice the resized image.
"""

from dataclasses import dataclass

import numpy as np

from scenerec.data.augment import CenterCrop, center_crop
from scenerec.data.picture import MAX_PIXELS, Picture, least_for, resize_and_crop


@dataclass(frozen=True)
class Preparer:
    """Prepares photographs for one network.

    Attributes:
        image_size: side of the network's input in pixels.
        eval_crop_ratio: the short side is resized to image_size / eval_crop_ratio.
        max_pixels: pictures with more are refused by their header, before anything is decoded.
    """

    image_size: int
    eval_crop_ratio: float
    max_pixels: int = MAX_PIXELS

    def __call__(self, content: bytes) -> np.ndarray:
        """An encoded picture -> uint8 RGB [image_size, image_size, 3].

        Upright by its EXIF orientation; white where it is transparent; the first picture of several. Raises
        PictureError.
        """
        picture = Picture(content, self.max_pixels)
        crop = self._crop(*picture.upright_size)
        return resize_and_crop(picture.upright(least_for(crop.height, crop.width)), crop, self.image_size)

    def pixels(self, pixels: np.ndarray) -> np.ndarray:
        """A decoded picture, uint8 [height, width, 3] -> uint8 [image_size, image_size, 3], the colours in its order.

        Raises PictureError.
        """
        return resize_and_crop(pixels, self._crop(*pixels.shape[:2]), self.image_size)

    def _crop(self, height: int, width: int) -> CenterCrop:
        return center_crop(height, width, self.image_size, self.eval_crop_ratio)
