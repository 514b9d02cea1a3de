"""Converters of torch and torchvision modules."""

from typing import Any

import keras
from torch import nn
from torchvision.models.convnext import LayerNorm2d
from torchvision.ops import Permute, StochasticDepth

from scenerec.models.keras_twin import layers, primitives
from scenerec.models.keras_twin.context import Context
from scenerec.models.keras_twin.converters import converts_module
from scenerec.models.keras_twin.layout import Value, axis_last, channels_last, image_value, permute, reshape


@converts_module(nn.Identity)
def identity(ctx: Context, module: nn.Identity, x: Value) -> Value:
    """Converts Identity to nothing."""
    return x


@converts_module(nn.Conv2d)
def conv2d(ctx: Context, conv: nn.Conv2d, x: Value) -> Value:
    """Converts to Conv2D, or to DepthwiseConv2D if each channel is a group; pads apart where "same" is not torch's."""
    if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        raise ctx.unsupported(f"padding {conv.padding!r} with mode {conv.padding_mode!r}")
    x = channels_last(ctx, x)
    kernel, stride, padding, dilation = conv.kernel_size, conv.stride, conv.padding, conv.dilation
    same = stride == (1, 1) and all(
        k % 2 == 1 and 2 * p == d * (k - 1) for k, p, d in zip(kernel, padding, dilation, strict=True)
    )
    if not same:
        x = primitives.pad(ctx, x, [(p, p) for p in padding])
    config: dict[str, Any] = {
        "kernel_size": kernel,
        "strides": stride,
        "dilation_rate": dilation,
        "padding": "same" if same else "valid",
        "use_bias": conv.bias is not None,
    }
    if conv.groups == conv.in_channels > 1:
        multiplier = conv.out_channels // conv.groups
        layer = ctx.weighted(keras.layers.DepthwiseConv2D, depth_multiplier=multiplier, **config)
    else:
        layer = ctx.weighted(keras.layers.Conv2D, filters=conv.out_channels, groups=conv.groups, **config)
    return image_value(layer(x.tensor))


@converts_module(nn.BatchNorm2d)
def batch_norm2d(ctx: Context, norm: nn.BatchNorm2d, x: Value) -> Value:
    """Converts to the layer whose running statistics are torch's."""
    if not norm.affine or not norm.track_running_stats or norm.momentum is None:
        raise ctx.unsupported("BatchNorm2d without affine parameters, running statistics or momentum")
    layer = ctx.weighted(layers.BatchNormalization, momentum=norm.momentum, epsilon=norm.eps)
    x = channels_last(ctx, x)
    return x.become(layer(x.tensor))


@converts_module(nn.LayerNorm)
def layer_norm(ctx: Context, norm: nn.LayerNorm, x: Value) -> Value:
    """Converts LayerNorm over the last axis; over more than one axis there is no converter."""
    return _layer_norm(ctx, norm, x, axis=-1)


@converts_module(LayerNorm2d)
def layer_norm2d(ctx: Context, norm: LayerNorm2d, x: Value) -> Value:
    """Converts ConvNeXt's LayerNorm over the channels of an image batch."""
    return _layer_norm(ctx, norm, x, axis=1)


def _layer_norm(ctx: Context, norm: nn.LayerNorm, x: Value, axis: int) -> Value:
    if len(norm.normalized_shape) != 1 or not norm.elementwise_affine or norm.bias is None:
        raise ctx.unsupported("LayerNorm over several axes, or without weight and bias")
    x = axis_last(ctx, x, axis)
    return x.become(ctx.weighted(keras.layers.LayerNormalization, epsilon=norm.eps)(x.tensor))


@converts_module(nn.Linear)
def linear(ctx: Context, module: nn.Linear, x: Value) -> Value:
    """Converts to Dense over the last torch axis, wherever the others are stored."""
    x = axis_last(ctx, x, -1)
    layer = ctx.weighted(keras.layers.Dense, units=module.out_features, use_bias=module.bias is not None)
    return Value(layer(x.tensor), (*x.shape[:-1], module.out_features), x.order)


@converts_module(nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.Tanh)
def activation(ctx: Context, module: nn.Module, x: Value) -> Value:
    """Converts the activations that Keras has under another name."""
    return primitives.activation(ctx, x, primitives.ACTIVATIONS[type(module).__name__.lower()])


@converts_module(nn.GELU)
def gelu(ctx: Context, module: nn.GELU, x: Value) -> Value:
    """Converts the exact GELU."""
    if module.approximate != "none":
        raise ctx.unsupported(f"GELU approximated by {module.approximate}")
    return primitives.activation(ctx, x, "gelu")


@converts_module(nn.Dropout)
def dropout(ctx: Context, module: nn.Dropout, x: Value) -> Value:
    """Converts dropout of single elements."""
    return primitives.dropout(ctx, x, module.p)


@converts_module(StochasticDepth)
def stochastic_depth(ctx: Context, module: StochasticDepth, x: Value) -> Value:
    """Converts dropout of whole samples (Huang et al. 2016)."""
    if module.mode != "row":
        raise ctx.unsupported(f"StochasticDepth in mode {module.mode!r}")
    return primitives.dropout(ctx, x, module.p, rows=True)


@converts_module(nn.MaxPool2d)
def max_pool2d(ctx: Context, pool: nn.MaxPool2d, x: Value) -> Value:
    """Converts the maximum over windows, in which padding never wins."""
    windows = (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
    return primitives.max_pool(ctx, x, *windows, pool.ceil_mode, pool.return_indices)


@converts_module(nn.AvgPool2d)
def avg_pool2d(ctx: Context, pool: nn.AvgPool2d, x: Value) -> Value:
    """Converts the mean over windows, padding included."""
    if pool.divisor_override is not None or not pool.count_include_pad:
        raise ctx.unsupported("average pooling with another divisor than the window's size")
    return primitives.average_pool(ctx, x, pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode)


@converts_module(nn.AdaptiveAvgPool2d)
def adaptive_avg_pool2d(ctx: Context, pool: nn.AdaptiveAvgPool2d, x: Value) -> Value:
    """Converts the mean over as many windows as the output has pixels."""
    return primitives.adaptive_average_pool(ctx, x, pool.output_size)


@converts_module(nn.Flatten)
def flatten(ctx: Context, module: nn.Flatten, x: Value) -> Value:
    """Converts the merging of a range of axes into one."""
    return primitives.flatten(ctx, x, module.start_dim, module.end_dim)


@converts_module(nn.Unflatten)
def unflatten(ctx: Context, module: nn.Unflatten, x: Value) -> Value:
    """Converts the splitting of an axis into several."""
    axis = x.axis(module.dim)
    return reshape(ctx, x, (*x.shape[:axis], *module.unflattened_size, *x.shape[axis + 1 :]))


@converts_module(Permute)
def permute_module(ctx: Context, module: Permute, x: Value) -> Value:
    """Converts a permutation of the axes, which only relabels them."""
    return permute(x, module.dims)
