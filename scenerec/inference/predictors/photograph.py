"""From the bytes of a photograph to what a network sees: quickly, and safely for bytes from anywhere.

The result is evaluation's, bit for bit (`scenerec.data.packed_image.evaluation_pixels`): resize the short side with an
antialiased filter, crop the centre. A JPEG that is much larger is decoded at less than its size, as long as
that leaves twice the resized image.
"""

from dataclasses import dataclass

import numpy as np

from scenerec.data.augment import CenterCrop, center_crop
from scenerec.data.picture import MAX_PIXELS, Picture, least_for, resize_and_crop
from scenerec.models.preprocessing import Interpolation, SeesPictures


@dataclass(frozen=True)
class Preparer:
    """Prepares photographs for one network.

    Attributes:
        image_size: side of the network's input in pixels.
        eval_crop_ratio: the short side is resized to image_size / eval_crop_ratio.
        max_pixels: pictures with more are refused by their header, before anything is decoded.
        interpolation: filter by which they are resized.
    """

    image_size: int
    eval_crop_ratio: float
    max_pixels: int = MAX_PIXELS
    interpolation: Interpolation = "bilinear"

    @classmethod
    def of(cls, model: SeesPictures, max_pixels: int = MAX_PIXELS) -> "Preparer":
        """That of a predictor, or of what a bundle says of its preprocessing."""
        return cls(model.image_size, model.eval_crop_ratio, max_pixels, model.interpolation)

    def __call__(self, content: bytes) -> np.ndarray:
        """An encoded picture -> uint8 RGB [image_size, image_size, 3].

        Upright by its EXIF orientation; white where it is transparent; the first picture of several. Raises
        PictureError.
        """
        picture = Picture(content, self.max_pixels)
        crop = self._crop(*picture.upright_size)
        return self._resized(picture.upright(least_for(crop.height, crop.width)), crop)

    def pixels(self, pixels: np.ndarray) -> np.ndarray:
        """A decoded picture, uint8 [height, width, 3] -> uint8 [image_size, image_size, 3], the colours in its order.

        Raises PictureError.
        """
        return self._resized(pixels, self._crop(*pixels.shape[:2]))

    def _resized(self, pixels: np.ndarray, crop: CenterCrop) -> np.ndarray:
        return resize_and_crop(pixels, crop, self.image_size, self.interpolation)

    def _crop(self, height: int, width: int) -> CenterCrop:
        return center_crop(height, width, self.image_size, self.eval_crop_ratio)
