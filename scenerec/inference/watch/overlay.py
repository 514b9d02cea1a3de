"""Frames with what was said of them written over them."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from scenerec.inference.watch.frames import Frame

_LINES_A_HEIGHT = 18
_SMALLEST_PX = 10


def overlaid(frame: Frame, lines: Sequence[str]) -> np.ndarray:
    """Returns a frame with lines of text in its upper left corner, uint8 RGB [height, width, 3]."""
    pixels = frame.pixels if frame.channels == "RGB" else frame.pixels[..., ::-1]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    size_px = max(image.height // _LINES_A_HEIGHT, _SMALLEST_PX)
    ImageDraw.Draw(image).multiline_text(
        (size_px // 2, size_px // 4),
        "\n".join(lines),
        fill="white",
        font=_font(size_px),
        stroke_width=max(size_px // 12, 1),
        stroke_fill="black",
    )
    return np.asarray(image)


@cache
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)
