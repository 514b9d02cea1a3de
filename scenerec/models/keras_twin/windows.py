"""Converters of what cuts an axis into windows, which may overlap, and of what adds them up again."""

import numpy as np
from keras import ops
from torch import nn
from torch.nn import functional as F

from scenerec.models.keras_twin import indexing, tensor_layers
from scenerec.models.keras_twin.context import Context
from scenerec.models.keras_twin.converters import converts_function, converts_method, converts_module
from scenerec.models.keras_twin.layout import Value, natural, permute, reshape
from scenerec.models.keras_twin.primitives import Size, pair


@converts_method("unfold")
def windows_of(ctx: Context, x: Value, dimension: int, size: int, step: int) -> Value:
    """Converts the cutting of an axis into windows, whose elements lie along a new last axis."""
    starts = np.arange(0, x.shape[x.axis(dimension)] - size + 1, step)
    return _windows(ctx, x, x.axis(dimension), starts[:, None] + np.arange(size))


@converts_function(F.unfold)
def unfold(ctx: Context, x: Value, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1) -> Value:
    """Converts the cutting of images into windows: [batch, channels * elements of a window, windows]."""
    channels = x.shape[1]
    (top, left), kernel = pair(padding), pair(kernel_size)
    x = indexing.pad(ctx, x, (left, left, top, top))
    for axis, size, step, gap in zip((2, 3), kernel, pair(stride), pair(dilation), strict=True):
        starts = np.arange(0, x.shape[axis] - gap * (size - 1), step)
        x = _windows(ctx, x, axis, starts[:, None] + gap * np.arange(size))
    rows, columns = x.shape[2:4]
    x = permute(x, (0, 1, 4, 5, 2, 3))
    return reshape(ctx, x, (x.shape[0], channels * kernel[0] * kernel[1], rows * columns))


@converts_module(nn.Unfold)
def unfold_module(ctx: Context, module: nn.Unfold, x: Value) -> Value:
    """Converts the cutting of images into windows."""
    return unfold(ctx, x, module.kernel_size, module.dilation, module.padding, module.stride)


@converts_function(F.fold)
def fold(
    ctx: Context,
    x: Value,
    output_size: Size,
    kernel_size: Size,
    dilation: Size = 1,
    padding: Size = 0,
    stride: Size = 1,
) -> Value:
    """Converts the sum of windows at their places in an image, by a matrix of zeros and ones for each of its axes."""
    kernel, image = pair(kernel_size), pair(output_size)
    places = [_places(*each) for each in zip(image, kernel, pair(dilation), pair(padding), pair(stride), strict=True)]
    channels = x.shape[1] // (kernel[0] * kernel[1])
    outputs = [place.shape[2] for place in places]
    x = natural(ctx, reshape(ctx, x, (x.shape[0], channels, *kernel, *outputs)))
    rows, columns = (ctx.constant(place) for place in places)
    tensor = ops.einsum("bciyw,hiy->bchw", ops.einsum("bcijyx,wjx->bciyw", x.tensor, columns), rows)
    return Value(tensor, (x.shape[0], channels, *image), (0, 1, 2, 3))


def _places(pixels: int, size: int, gap: int, padding: int, step: int) -> np.ndarray:
    """1 where an element of a window lies on a pixel, float32 [pixels, size, windows]."""
    count = (pixels + 2 * padding - gap * (size - 1) - 1) // step + 1
    place = gap * np.arange(size)[:, None] + step * np.arange(count) - padding
    return (np.arange(pixels)[:, None, None] == place).astype("float32")


def _windows(ctx: Context, x: Value, axis: int, places: np.ndarray) -> Value:
    """Of an axis the elements at `places` [windows, elements], the latter along a new last axis."""
    if x.shape[axis] < 0:
        raise ctx.unsupported("windows of the batch")
    position = x.position(axis)
    tensor = ctx.apply(
        tensor_layers.Windows, x.tensor, axis=position, shape=places.shape, values=tensor_layers.pack(places)
    )
    order = (*x.order[: position + 1], x.rank, *x.order[position + 1 :])
    shape = (*x.shape[:axis], len(places), *x.shape[axis + 1 :], places.shape[1])
    return Value(tensor, shape, order, x.nonnegative)
