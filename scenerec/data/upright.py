"""Any picture as upright 8-bit RGB: the same when a data set is packed and when a model is asked."""

from contextlib import suppress

import numpy as np
from PIL import Image

ORIENTATION_TAG = 0x0112
UPRIGHT = 1


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8."""
    with suppress(Exception):  # damaged EXIF does not make a bad picture
        value = image.getexif().get(ORIENTATION_TAG, UPRIGHT)
        return value if value in range(1, 9) else UPRIGHT
    return UPRIGHT


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of any pixel format that Pillow reads; what is transparent becomes white."""
    if image.mode.startswith("I"):  # 16 bits; Pillow's own conversion would clip at 255
        grey = (np.asarray(image).astype(np.uint32) + 128) // 257
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
