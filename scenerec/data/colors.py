"""Brightness, contrast, saturation, hue and grey as one matrix an image, together with the network's normalisation.

Each is an affine map of the colours, so that all in a row are one as well (Haeberli, Matrix Operations for Image
Processing, 1993): nothing is clipped or rounded in between, and a batch costs one product, on the device. Solarisation
is what no matrix does; it comes last.
"""

from collections.abc import Sequence

import numpy as np

from scenerec.data.augment import View
from scenerec.models.preprocessing import IMAGENET, WeightPreprocessing

_ROWS = 257  # so many of the brightest levels 16 bits can add up
WITH_SOLARIZE = 5
"""Columns of `color_matrices` where there is something to solarise."""

_GREY = np.array((0.299, 0.587, 0.114))  # weights of R, G, B (ITU-R BT.601)
_YIQ = np.array((_GREY, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)))  # from RGB (NTSC, 1953)


def channel_means(pixels: np.ndarray) -> np.ndarray:
    """Mean level of each channel of uint8 [..., height, width, 3]; exact, float64 [..., 3]."""
    *images, height, width, channels = pixels.shape
    rows = pixels.reshape(*images, height, width * channels)  # along whole rows, and in 16 bits: forty times as fast
    parts = [rows[..., top : top + _ROWS, :].sum(axis=-2, dtype=np.uint16) for top in range(0, height, _ROWS)]
    return np.sum(parts, axis=0, dtype=np.uint64).reshape(*images, width, channels).sum(axis=-2) / (height * width)


def color_matrices(
    views: Sequence[View], means: np.ndarray, solarizes: bool = False, preprocessing: WeightPreprocessing = IMAGENET
) -> np.ndarray:
    """The map from each image's levels to what the network sees, float32 [n, 3, 4]: a matrix, then what is added.

    In order: brightness scales; contrast blends with the image's mean grey, saturation with each pixel's grey; hue
    turns the plane of colours, which leaves the grey; then the normalisation of `preprocessing`. `means` are the
    images' channel means in levels, [n, 3].

    Where it `solarizes`, [n, 3, 5]: a value v that has been clipped then becomes the smaller of v and the last column
    minus v, which inverts the levels from 128 on. The column is infinite for images that stay as they are.
    """
    factors = [(v.brightness, v.contrast, 0.0 if v.gray else v.saturation, v.hue) for v in views]
    brightness, contrast, saturation, hue = np.array(factors, np.float64).reshape(-1, 4).T[..., None, None]
    mean, std = (np.array(each)[:, None] for each in (preprocessing.mean_levels, preprocessing.std_levels))
    matrix = contrast * brightness * (_turns(hue) @ (saturation * np.eye(3) + (1 - saturation) * _GREY))
    added = (1 - contrast) * brightness * (means @ _GREY)[:, None, None] - mean
    colors = (np.concatenate([matrix, added], axis=2) / std).astype(np.float32)
    if not solarizes:
        return colors
    ends = np.add(preprocessing.darkest, preprocessing.brightest)
    mirrors = np.where(np.array([[v.solarize] for v in views]).reshape(-1, 1), ends, np.inf)
    return np.concatenate([colors, mirrors[:, :, None].astype(np.float32)], axis=2)


def _turns(hue: np.ndarray) -> np.ndarray:
    """Turns of RGB colours about the grey axis of YIQ by `hue` of the circle, [n, 1, 1]; float64 [n, 3, 3]."""
    angle = 2 * np.pi * hue
    luma, chroma, cross = (np.diag(axes) for axes in ((1, 0, 0), (0, 1, 1), (0, 1, -1)))
    turn = luma + np.cos(angle) * chroma - np.sin(angle) * cross[[0, 2, 1]]
    return np.linalg.inv(_YIQ) @ turn @ _YIQ
