"""What the network sees of a training image, but for its colours: the same in both frameworks.

The resize is torch's for uint8, which takes a third of the time of Pillow's, evaluation's and serving's, and is at most
one level apart, two where it is bicubic. A worker that trains in TensorFlow has torch in it as well
(scenerec/models/torch_outline.py).
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch

from scenerec.data.augment import View
from scenerec.data.erasing import Erased
from scenerec.data.picture import Picture, least_for, resize_box
from scenerec.data.torch_operations import apply_operations
from scenerec.models.preprocessing import IMAGENET, Interpolation, WeightPreprocessing

_NOISE_BITS = 16


def training_pixels(
    encoded: bytes,
    view: View,
    image_size: int,
    out: np.ndarray | None = None,
    preprocessing: WeightPreprocessing = IMAGENET,
) -> np.ndarray:
    """Decodes an image and applies its view, but for the colours: uint8 RGB [image_size, image_size, 3].

    In order: turn upright, crop, resize (antialiased), flip, operations, blur, erase. A JPEG that is much
    larger is decoded at less than its size. The result is written to `out`, where that is given. Raises PictureError.

    The blur comes before the colours, in papers after them. But for their clipping that is the same: both are linear.
    """
    out = np.empty((image_size, image_size, 3), np.uint8) if out is None else out
    pixels_of_views(encoded, (view,), image_size, out[None], preprocessing)
    return out


def pixels_of_views(
    encoded: bytes,
    views: Sequence[View],
    image_size: int,
    out: np.ndarray,
    preprocessing: WeightPreprocessing = IMAGENET,
) -> None:
    """As `training_pixels`, of several views of an image that is decoded once, large enough for all.

    They are written to `out`, uint8 [views, image_size, image_size, 3]. Raises PictureError.
    """
    picture = Picture(encoded)
    height, width = picture.upright_size
    needed = [  # what remains of a row, a column
        (math.ceil(height * (image_size / view.height)), math.ceil(width * (image_size / view.width))) for view in views
    ]
    pixels = picture.upright(least_for(max(rows for rows, _ in needed), max(columns for _, columns in needed)))
    for view, square in zip(views, out, strict=True):
        _apply(view, pixels, (height, width), square, preprocessing)


def _apply(
    view: View, pixels: np.ndarray, size: tuple[int, int], out: np.ndarray, preprocessing: WeightPreprocessing
) -> None:
    """The view of an image of `size` (height and width) that has been decoded to `pixels`."""
    square = np.empty_like(out) if view.flip else out
    if pixels.shape[:2] == size:
        crop = pixels[view.top : view.top + view.height, view.left : view.left + view.width]
        _resize(crop, square, preprocessing.interpolation)
    else:
        down, right = pixels.shape[0] / size[0], pixels.shape[1] / size[1]
        box = (view.left, view.top, view.left + view.width, view.top + view.height)
        scaled = (box[0] * right, box[1] * down, box[2] * right, box[3] * down)
        square[:] = resize_box(pixels, scaled, len(square), preprocessing.interpolation)
    if view.flip:  # numpy takes ten times as long
        torch.ops.aten.flip.out(torch.from_numpy(square), [1], out=torch.from_numpy(out))
    apply_operations(out, view.operations)
    if view.blur:
        _blur(out, view.blur * len(out))
    if view.erased:
        _erase(out, view.erased, preprocessing)


def _blur(pixels: np.ndarray, sigma: float) -> None:
    """A Gaussian of deviation `sigma` in pixels over uint8 [height, width, 3], in place; edges are mirrored.

    Along rows, then along columns, each as a sum of shifted images.
    """
    weights = _gaussian(sigma)
    radius = len(weights) // 2
    height, width, channels = pixels.shape
    padded = np.pad(pixels, ((radius, radius), (radius, radius), (0, 0)), "reflect").astype(np.float32)
    levels = torch.from_numpy(padded.reshape(len(padded), -1))
    for axis, length in ((1, width * channels), (0, height)):
        step = channels if axis else 1
        total = weights[0] * levels.narrow(axis, 0, length)
        for place, weight in enumerate(weights[1:], start=1):
            total.add_(levels.narrow(axis, place * step, length), alpha=weight)
        levels = total
    torch.from_numpy(pixels).view(height, -1).copy_(levels.round_())


def _gaussian(sigma: float) -> list[float]:
    """Weights of the pixels up to 4 sigma away, which sum to 1."""
    radius = math.ceil(4 * sigma)
    heights = [math.exp(-((place / sigma) ** 2) / 2) for place in range(-radius, radius + 1)]
    total = sum(heights)
    return [height / total for height in heights]


def _erase(pixels: np.ndarray, erased: Erased, preprocessing: WeightPreprocessing) -> None:
    """Fills a rectangle of uint8 [side, side, 3] in place, with the mean colour or with noise about it."""
    top, left, height, width = erased.box(len(pixels))
    rectangle = pixels[top : top + height, left : left + width]
    if erased.noise is None:
        rectangle[:] = np.round(preprocessing.mean_levels)
        return
    words = np.random.PCG64(np.random.SeedSequence(erased.noise)).random_raw(-(-rectangle.size * _NOISE_BITS // 64))
    drawn = words.astype("<u8").view("<u2")[: rectangle.size].reshape(rectangle.shape)
    for channel, levels in enumerate(_noise_levels(preprocessing)):
        rectangle[..., channel] = levels[drawn[..., channel]]


@cache
def _noise_levels(preprocessing: WeightPreprocessing) -> np.ndarray:
    """What random bits stand for, uint8 [3, 2 ** 16]: levels that are normal after normalisation, but for clipping."""
    shares = (torch.arange(2**_NOISE_BITS, dtype=torch.float64) + 0.5) / 2**_NOISE_BITS
    normal = torch.special.ndtri(shares).numpy()
    mean, std = (np.array(each)[:, None] for each in (preprocessing.mean_levels, preprocessing.std_levels))
    levels = mean + std * normal
    return levels.round().clip(0, 255).astype(np.uint8)


def decoding_threads(count: int) -> ThreadPoolExecutor:
    """Threads in which torch computes on one core: they share the cores out among themselves.

    In the caller's it computes on as many as before.
    """
    torch.get_num_threads()  # what it has not asked for by now, the caller's would take over from them
    return ThreadPoolExecutor(count, "decode", torch.set_num_threads, (1,))


def _resize(pixels: np.ndarray, out: np.ndarray, interpolation: Interpolation) -> None:
    """uint8 [height, width, 3] to that of `out`, by the kernel behind `interpolate`.

    By the function itself the result would be planes, and to interleave them takes longer than the resize.
    """
    aten = torch.ops.aten
    resize = aten._upsample_bilinear2d_aa if interpolation == "bilinear" else aten._upsample_bicubic2d_aa
    resize.out(_planes(pixels), out.shape[:2], False, None, None, out=_planes(out))


def _planes(pixels: np.ndarray) -> torch.Tensor:
    """A view [1, 3, height, width] of interleaved [height, width, 3]."""
    return torch.from_numpy(pixels[None].transpose(0, 3, 1, 2))
