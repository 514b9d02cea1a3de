"""Converters of normalisations: by the batch, by the channels or groups of them, and of the weights themselves."""

from collections.abc import Sequence
from typing import Any

import keras
import torch
from keras import ops
from torch import nn
from torch.nn import functional as F
from torchvision.models.convnext import LayerNorm2d

from scenerec.models.keras_twin import layers
from scenerec.models.keras_twin.arithmetic import add, mean, multiply, power, reciprocal_square_root
from scenerec.models.keras_twin.context import Context
from scenerec.models.keras_twin.converters import converts_function, converts_module
from scenerec.models.keras_twin.layout import Value, axis_last, channels_last, natural


@converts_module(nn.BatchNorm2d)
def batch_norm2d(ctx: Context, norm: nn.BatchNorm2d, x: Value) -> Value:
    """Converts to the layer whose running statistics are torch's."""
    x = channels_last(ctx, x)
    return x.become(_batch_normalization(ctx, norm)(x.tensor))


@converts_module(nn.BatchNorm1d)
def batch_norm1d(ctx: Context, norm: nn.BatchNorm1d, x: Value) -> Value:
    """Converts the normalisation of vectors [n, channels] or sequences [n, channels, length], as images of one row."""
    x = axis_last(ctx, x, 1)
    lengths = x.tensor.shape[1:]
    rows = (1,) * (3 - len(lengths)) + tuple(lengths)
    image = ctx.apply(keras.layers.Reshape, x.tensor, part="rows", target_shape=rows)
    normal = _batch_normalization(ctx, norm)(image)
    return x.become(ctx.apply(keras.layers.Reshape, normal, part="vectors", target_shape=lengths))


def _batch_normalization(ctx: Context, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> keras.layers.Layer:
    if not norm.track_running_stats or norm.momentum is None:
        raise ctx.unsupported(f"{type(norm).__name__} without running statistics or momentum")
    layer: keras.layers.Layer = ctx.weighted(
        layers.BatchNormalization, momentum=norm.momentum, epsilon=norm.eps, affine=norm.affine
    )
    return layer


@converts_module(nn.LayerNorm)
def layer_norm(ctx: Context, norm: nn.LayerNorm, x: Value) -> Value:
    """Converts LayerNorm over the last axis; over more than one axis there is no converter."""
    return _layer_norm(ctx, norm, x, axis=-1)


@converts_module(LayerNorm2d)
def layer_norm2d(ctx: Context, norm: LayerNorm2d, x: Value) -> Value:
    """Converts ConvNeXt's LayerNorm over the channels of an image batch."""
    return _layer_norm(ctx, norm, x, axis=1)


def _layer_norm(ctx: Context, norm: nn.LayerNorm, x: Value, axis: int) -> Value:
    if len(norm.normalized_shape) != 1:
        raise ctx.unsupported("LayerNorm over several axes")
    x = axis_last(ctx, x, axis)
    parts: dict[str, Any] = {"scale": norm.weight is not None, "center": norm.bias is not None}
    return x.become(ctx.weighted(keras.layers.LayerNormalization, epsilon=norm.eps, **parts)(x.tensor))


@converts_function(F.batch_norm)
def batch_norm(
    ctx: Context,
    x: Value,
    running_mean: Any,
    running_var: Any,
    weight: Value | None = None,
    bias: Value | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Value:
    """Converts the normalisation of a module that goes on after it, and that of weights (Qiao et al. 2019)."""
    if isinstance(ctx.module, nn.BatchNorm2d):
        return batch_norm2d(ctx, ctx.module, x)
    if x.batched or running_mean is not None or bias is not None or not training:
        raise ctx.unsupported("batch_norm outside of a BatchNorm2d")
    x = natural(ctx, x)
    others = tuple(axis for axis in range(x.rank) if axis != 1)
    centred = x.tensor - ops.mean(x.tensor, axis=others, keepdims=True)
    normal = centred * ops.rsqrt(ops.mean(ops.square(centred), axis=others, keepdims=True) + eps)
    if weight is not None:
        normal *= ops.reshape(weight.tensor, (-1, *(1 for _ in others[1:])))
    return x.become(normal)


@converts_module(nn.GroupNorm)
def group_norm(ctx: Context, norm: nn.GroupNorm, x: Value) -> Value:
    """Converts the normalisation of groups of channels (Wu and He 2018)."""
    x = axis_last(ctx, x, 1)
    parts: dict[str, Any] = {"scale": norm.weight is not None, "center": norm.bias is not None}
    layer = ctx.weighted(keras.layers.GroupNormalization, groups=norm.num_groups, epsilon=norm.eps, **parts)
    return x.become(layer(x.tensor))


@converts_function(F.group_norm)
def group_norm_function(ctx: Context, x: Value, *args: Any, **kwargs: Any) -> Value:
    """Converts the normalisation of a module that does more."""
    if not isinstance(ctx.module, nn.GroupNorm):
        raise ctx.unsupported("group_norm outside of a GroupNorm")
    return group_norm(ctx, ctx.module, x)


@converts_function(F.rms_norm)
def rms_norm(
    ctx: Context, x: Value, normalized_shape: Sequence[int], weight: Value | None = None, eps: float | None = None
) -> Value:
    """Converts the division by the root of the mean square over the last axes (Zhang and Sennrich 2019)."""
    axes = range(x.rank - len(normalized_shape), x.rank)
    squares = mean(ctx, power(ctx, x, 2), list(axes), keepdim=True)
    least = torch.finfo(torch.float32).eps if eps is None else eps
    normal = multiply(ctx, x, reciprocal_square_root(ctx, add(ctx, squares, least)))
    return normal if weight is None else multiply(ctx, normal, weight)


@converts_function(F.layer_norm)
def layer_norm_function(ctx: Context, x: Value, *args: Any, **kwargs: Any) -> Value:
    """Converts the normalisation, over the last axis, of a module that does more."""
    if not isinstance(ctx.module, nn.LayerNorm):
        raise ctx.unsupported("layer_norm outside of a LayerNorm")
    return _layer_norm(ctx, ctx.module, x, axis=-1)
