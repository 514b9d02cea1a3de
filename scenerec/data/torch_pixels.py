"""What the network sees of a training image: decoded, cropped, resized and flipped, the same for both frameworks.

The resize is torch's for uint8, which takes a third of the time of Pillow's, evaluation's and serving's, and is at most
one level apart. A worker that trains in TensorFlow has torch in it as well (scenerec/models/torch_outline.py).
"""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from scenerec.data.augment import View
from scenerec.data.picture import Picture, least_for, resize_box


def training_pixels(encoded: bytes, view: View, image_size: int, out: np.ndarray | None = None) -> np.ndarray:
    """Decodes an image and applies its view, but for the colours: uint8 RGB [image_size, image_size, 3].

    In order: turn upright, crop, resize (bilinear, antialiased), flip. A JPEG that is much larger is decoded at less
    than its size. The result is written to `out`, where that is given. Raises PictureError.
    """
    out = np.empty((image_size, image_size, 3), np.uint8) if out is None else out
    square = np.empty_like(out) if view.flip else out
    picture = Picture(encoded)
    height, width = picture.upright_size
    rows, columns = image_size / view.height, image_size / view.width  # what remains of a row, a column
    pixels = picture.upright(least_for(math.ceil(height * rows), math.ceil(width * columns)))
    if pixels.shape[:2] == (height, width):
        crop = pixels[view.top : view.top + view.height, view.left : view.left + view.width]
        _resize(crop, square)
    else:
        down, right = pixels.shape[0] / height, pixels.shape[1] / width
        box = (view.left, view.top, view.left + view.width, view.top + view.height)
        scaled = (box[0] * right, box[1] * down, box[2] * right, box[3] * down)
        square[:] = resize_box(pixels, scaled, image_size)
    if view.flip:  # numpy takes ten times as long
        torch.ops.aten.flip.out(torch.from_numpy(square), [1], out=torch.from_numpy(out))
    return out


def decoding_threads(count: int) -> ThreadPoolExecutor:
    """Threads in which torch computes on one core: they share the cores out among themselves.

    In the caller's it computes on as many as before.
    """
    torch.get_num_threads()  # what it has not asked for by now, the caller's would take over from them
    return ThreadPoolExecutor(count, "decode", torch.set_num_threads, (1,))


def _resize(pixels: np.ndarray, out: np.ndarray) -> None:
    """uint8 [height, width, 3] to that of `out`, by the kernel behind `interpolate`.

    By the function itself the result would be planes, and to interleave them takes longer than the resize.
    """
    torch.ops.aten._upsample_bilinear2d_aa.out(_planes(pixels), out.shape[:2], False, None, None, out=_planes(out))


def _planes(pixels: np.ndarray) -> torch.Tensor:
    """A view [1, 3, height, width] of interleaved [height, width, 3]."""
    return torch.from_numpy(pixels[None].transpose(0, 3, 1, 2))
