"""Heat maps as pictures that lie over the image: hot places are bright and opaque, cold ones show the image.

The colours go from violet over red to yellow, evenly in lightness and hue as people see them: on a straight line in
OKLCh, of OKLab (Ottosson 2020, "A perceptual color space for image processing").
"""

import io
from functools import cache

import numpy as np
from PIL import Image

_LEVELS = 256
_LIGHTNESS = (0.35, 0.93)  # coldest, hottest
_HUE_DEGREES = (-65.0, 105.0)
_CHROMA = 0.17
_OPACITY = 0.75  # of the hottest

# From OKLab to cube roots of cone responses, and from cone responses to linear sRGB.
_LAB_TO_ROOTS = np.array(
    [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
)
_CONES_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def render(heat: np.ndarray) -> bytes:
    """Draws a heat map, float32 [rows, columns] in [0, 1], as a PNG of a palette with transparency."""
    picture = Image.fromarray(_levels(heat))  # of palette indices
    picture.putpalette(color_table()[:, :3].tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG", transparency=color_table()[:, 3].tobytes())
    return file.getvalue()


def blend(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lays `render`'s picture over an image, uint8 RGB [rows, columns, 3], both of the same size."""
    colors = color_table()[_levels(heat)].astype(np.float32)
    opacity = colors[..., 3:] / 255
    return np.round(image * (1 - opacity) + colors[..., :3] * opacity).astype(np.uint8)


@cache
def color_table() -> np.ndarray:
    """Returns red, green, blue and opacity from the coldest to the hottest, uint8 [256, 4]."""
    heat = np.linspace(0, 1, _LEVELS)
    lightness, hue = np.interp(heat, (0, 1), _LIGHTNESS), np.radians(np.interp(heat, (0, 1), _HUE_DEGREES))
    lab = np.stack([lightness, _CHROMA * np.cos(hue), _CHROMA * np.sin(hue)], axis=1)
    linear = ((lab @ _LAB_TO_ROOTS.T) ** 3 @ _CONES_TO_RGB.T).clip(0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(np.column_stack([encoded, _OPACITY * heat]) * 255).astype(np.uint8)


def _levels(heat: np.ndarray) -> np.ndarray:
    """uint8, 0 to 255."""
    return np.round(np.clip(heat, 0, 1) * (_LEVELS - 1)).astype(np.uint8)
