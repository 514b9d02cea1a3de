"""What several converters share: padding, activations, dropout; pooling and flattening, which convert functions too."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import torch
from keras import ops
from torch.nn import functional as F

from scenerec.models.keras_twin import layers
from scenerec.models.keras_twin.context import Context
from scenerec.models.keras_twin.converters import converts_function, converts_method
from scenerec.models.keras_twin.layout import Value, channels_last, image_value, reshape

Size = int | Sequence[int]

ACTIVATIONS = {
    "relu": "relu",
    "relu6": "relu6",
    "silu": "silu",
    "hardswish": "hard_silu",
    "hardsigmoid": "hard_sigmoid",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "mish": "mish",
}
"""torch's name of an activation, in lower case -> Keras's."""

_NONNEGATIVE = {"relu", "relu6", "sigmoid", "hard_sigmoid"}


def pair(size: Size) -> tuple[int, int]:
    """The (height, width) of what torch lets one write as a single number."""
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def activation(ctx: Context, x: Value, name: str) -> Value:
    """Applies Keras's activation `name`, element by element."""
    tensor = ctx.apply(keras.layers.Activation, x.tensor, activation=name)
    return x.become(tensor, nonnegative=name in _NONNEGATIVE)


def gelu(ctx: Context, x: Value, approximate: str) -> Value:
    """Applies the exact GELU, or its approximation by tanh."""
    if approximate == "none":
        return activation(ctx, x, "gelu")
    return x.become(ops.gelu(x.tensor, approximate=True))


def sequence(arguments: Sequence[Any]) -> Sequence[int]:
    """What torch takes as f(1, 2) and as f((1, 2)) alike."""
    return arguments[0] if len(arguments) == 1 and not isinstance(arguments[0], int) else arguments


def dropout(ctx: Context, x: Value, rate: float, rows: bool = False) -> Value:
    """Drops elements, or whole samples, at `rate` in training."""
    if rate == 0.0:
        return x
    return x.become(ctx.apply(layers.Dropout, x.tensor, rate=rate, rows=rows, order=x.order), nonnegative=x.nonnegative)


@converts_function(F.dropout)
def dropout_function(ctx: Context, x: Value, p: float = 0.5, training: bool = True, inplace: bool = False) -> Value:
    """Converts dropout without a module, whose rate is 0: another has no name to draw by."""
    if p:
        raise ctx.unsupported(f"dropout without a module, at a rate of {p}")
    return x


@converts_function(torch.flatten)
@converts_method("flatten")
def flatten(ctx: Context, x: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
    """Merges the axes from `start_dim` to `end_dim`."""
    start, end = x.axis(start_dim), x.axis(end_dim)
    return reshape(ctx, x, (*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :]))


def pad(ctx: Context, x: Value, padding: Sequence[tuple[int, int]], value: float = 0.0) -> Value:
    """Pads an NHWC image batch by ((top, bottom), (left, right)) pixels of `value`."""
    if not any(map(any, padding)):
        return x
    if value == 0.0:
        tensor = ctx.apply(keras.layers.ZeroPadding2D, x.tensor, part="pad", padding=tuple(padding))
    else:
        tensor = ops.pad(x.tensor, [(0, 0), *padding, (0, 0)], constant_values=value)
    return image_value(tensor, x.shape[0], nonnegative=x.nonnegative and value >= 0.0)


@converts_function(F.max_pool2d)
def max_pool(
    ctx: Context,
    x: Value,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Value:
    """Takes the maximum over windows, in which padding never wins.

    After a ReLU the padding is zeros, as int8 quantisation has no infinity; elsewhere -inf, as in torch.
    """
    if pair(dilation) != (1, 1) or return_indices:
        raise ctx.unsupported("max-pooling with dilation or indices")
    x = channels_last(ctx, x)
    window, step, sides = _windows(x, kernel_size, stride, padding, ceil_mode)
    x = pad(ctx, x, sides, value=0.0 if x.nonnegative else -math.inf)
    tensor = ctx.apply(keras.layers.MaxPooling2D, x.tensor, pool_size=window, strides=step)
    return image_value(tensor, x.shape[0], nonnegative=x.nonnegative)


@converts_function(F.avg_pool2d)
def average_pool(
    ctx: Context,
    x: Value,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Value:
    """Takes the mean over windows, whose padding counts or does not."""
    if divisor_override is not None:
        raise ctx.unsupported("average pooling with another divisor than the window's size")
    x = channels_last(ctx, x)
    window, step, sides = _windows(x, kernel_size, stride, padding, ceil_mode)
    counted = F.avg_pool2d(torch.ones(1, 1, *x.shape[2:]), window, step, padding, ceil_mode, count_include_pad)
    (top, bottom), (left, right) = sides
    inside = F.avg_pool2d(F.pad(torch.ones(1, 1, *x.shape[2:]), (left, right, top, bottom)), window, step)
    x = pad(ctx, x, sides)
    tensor = ctx.apply(keras.layers.AveragePooling2D, x.tensor, pool_size=window, strides=step)
    if not torch.equal(counted, inside):  # what lies outside is a zero there, and is not counted here
        tensor *= ctx.constant((counted / inside)[0, 0, :, :, None].numpy())
    return image_value(tensor, x.shape[0], nonnegative=x.nonnegative)


@converts_function(F.adaptive_avg_pool2d)
def adaptive_average_pool(ctx: Context, x: Value, output_size: Size) -> Value:
    """Takes the mean over windows so chosen that so many pixels come out, of one size where they divide the image."""
    x = channels_last(ctx, x)
    size, image = pair(output_size), x.shape[2:]
    if size == (1, 1):
        return global_average_pool(ctx, x, keepdims=True)
    if size == image:
        return x
    if any(pixels % out for pixels, out in zip(image, size, strict=True)):
        tensor = ctx.apply(layers.AdaptiveAveragePooling2D, x.tensor, output_size=size)
        return image_value(tensor, x.shape[0], nonnegative=x.nonnegative)
    window = (image[0] // size[0], image[1] // size[1])
    return average_pool(ctx, x, window)


@converts_function(F.adaptive_max_pool2d)
def adaptive_max_pool(ctx: Context, x: Value, output_size: Size, return_indices: bool = False) -> Value:
    """Takes the maximum over all pixels."""
    if pair(output_size) != (1, 1) or return_indices:
        raise ctx.unsupported(f"adaptive max-pooling to {output_size}")
    x = channels_last(ctx, x)
    tensor = ctx.apply(keras.layers.GlobalMaxPooling2D, x.tensor, keepdims=True)
    return image_value(tensor, x.shape[0], nonnegative=x.nonnegative)


def global_average_pool(ctx: Context, x: Value, keepdims: bool) -> Value:
    """Takes the mean over all pixels: [batch, channels], or [batch, channels, 1, 1]."""
    x = channels_last(ctx, x)
    tensor = ctx.apply(keras.layers.GlobalAveragePooling2D, x.tensor, keepdims=keepdims)
    return image_value(tensor, x.shape[0]) if keepdims else Value(tensor, x.shape[:2], (0, 1))


def _windows(
    x: Value, kernel: Size, stride: Size | None, padding: Size, ceil_mode: bool
) -> tuple[tuple[int, int], tuple[int, int], list[tuple[int, int]]]:
    """The window, its step, and the padding that makes "valid" pooling yield torch's output size."""
    window = pair(kernel)
    step = pair(stride) if stride else window
    sides = [_padding(x.shape[2 + i], window[i], step[i], pair(padding)[i], ceil_mode) for i in (0, 1)]
    return window, step, sides


def _padding(pixels: int, window: int, step: int, padding: int, ceil_mode: bool) -> tuple[int, int]:
    """Padding on both sides; with `ceil_mode` a last window that starts within the image may reach beyond."""
    if not ceil_mode:
        return padding, padding
    outputs = -(-(pixels + 2 * padding - window) // step) + 1
    if (outputs - 1) * step >= pixels + padding:
        outputs -= 1
    return padding, max(padding, (outputs - 1) * step + window - pixels - padding)
