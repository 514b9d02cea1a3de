"""Converters of changes of shape and order, of casts, and of interpolation."""

import math
from dataclasses import replace
from typing import Any

import torch
from torch.nn import functional as F

from scenerec.models.keras_twin import tensor_layers
from scenerec.models.keras_twin.context import Context
from scenerec.models.keras_twin.converters import converts_function, converts_method
from scenerec.models.keras_twin.layout import Value, channels_last, image_value, permute, reshape, swap
from scenerec.models.keras_twin.primitives import sequence
from scenerec.models.keras_twin.tensor_layers import pack


@converts_function(torch.reshape)
@converts_method("view", "reshape")
def view(ctx: Context, x: Value, *shape: Any) -> Value:
    """Converts a change of shape that keeps the elements."""
    return reshape(ctx, x, sequence(shape))


@converts_method("reshape_as", "view_as")
def view_as(ctx: Context, x: Value, other: Value) -> Value:
    """Converts a change of shape to another's."""
    return reshape(ctx, x, other.shape)


@converts_function(F.pixel_shuffle)
def pixel_shuffle(ctx: Context, x: Value, upscale_factor: int) -> Value:
    """Converts the spreading of channels over the pixels of a larger image (Shi et al. 2016)."""
    factor, (batch, channels, height, width) = upscale_factor, x.shape
    x = reshape(ctx, x, (batch, channels // factor**2, factor, factor, height, width))
    return reshape(ctx, permute(x, (0, 1, 4, 2, 5, 3)), (batch, channels // factor**2, height * factor, width * factor))


@converts_function(torch.permute)
@converts_method("permute")
def permute_axes(ctx: Context, x: Value, *dims: Any) -> Value:
    """Converts a permutation of the axes, which only relabels them."""
    return permute(x, sequence(dims))


@converts_function(torch.transpose, torch.swapaxes)
@converts_method("transpose", "swapaxes")
def transpose(ctx: Context, x: Value, dim0: int, dim1: int) -> Value:
    """Converts the exchange of two axes, which only relabels them."""
    return swap(x, dim0, dim1)


@converts_method("contiguous", "clone", "detach")
@converts_function(torch.clone)
def same(ctx: Context, x: Value, *args: Any, **kwargs: Any) -> Value:
    """Converts to nothing: how a twin stores its values is our choice."""
    return x


@converts_method("to", "type_as")
def cast(ctx: Context, x: Value, *args: Any, **kwargs: Any) -> Value:
    """Converts to the dtype of Keras's policy, which torch code asks for as float32."""
    if any(isinstance(each, torch.dtype) and each != torch.float32 for each in (*args, *kwargs.values())):
        raise ctx.unsupported(f"a cast to {args or kwargs}")
    return replace(x, tensor=ctx.narrow(x.tensor))


@converts_method("float")
def widen(ctx: Context, x: Value) -> Value:
    """Converts to float32 where the policy computes in 16 bits, up to the next layer with weights."""
    return replace(x, tensor=ctx.widen(x.tensor))


@converts_method("numel")
def count(ctx: Context, x: Value) -> int:
    """Converts to the number of elements."""
    return math.prod(x.shape)


@converts_function(F.interpolate)
def interpolate(
    ctx: Context,
    x: Value,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Value:
    """Converts an interpolation by the matrix of each axis, which torch itself tells."""
    x = channels_last(ctx, x)
    options: dict[str, Any] = {"mode": mode, "align_corners": align_corners, "antialias": antialias}
    height, width = x.shape[2:]
    image = F.interpolate(torch.zeros(1, 1, height, width), size, scale_factor, **options)
    new = tuple(image.shape[2:])
    rows = F.interpolate(torch.eye(height)[None, :, :, None], (new[0], 1), **options)[0, :, :, 0].T
    columns = F.interpolate(torch.eye(width)[None, :, None, :], (1, new[1]), **options)[0, :, 0, :].T
    matrices = {"rows": pack(rows.numpy()), "columns": pack(columns.numpy())}
    tensor = ctx.apply(tensor_layers.Resample2D, x.tensor, size=(height, width), new_size=new, **matrices)
    return image_value(tensor, x.shape[0])
