"""Converters of torch and torchvision modules."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops
from torch import nn
from torch.nn import functional as F
from torchvision.ops import Permute, StochasticDepth

from scenerec.models.keras_twin import arithmetic, functions, indexing, layers, primitives, tensor_layers
from scenerec.models.keras_twin.context import Context
from scenerec.models.keras_twin.converters import converts_function, converts_module
from scenerec.models.keras_twin.layout import (
    Value,
    axis_last,
    channels_last,
    image_value,
    natural,
    permute,
    reshape,
)


@converts_module(nn.Identity)
def identity(ctx: Context, module: nn.Identity, x: Value) -> Value:
    """Converts Identity to nothing."""
    return x


@converts_module(nn.Conv2d)
def conv2d_module(ctx: Context, conv: nn.Conv2d, x: Value) -> Value:
    """Converts to Conv2D, or to DepthwiseConv2D if each channel is a group."""
    if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        raise ctx.unsupported(f"padding {conv.padding!r} with mode {conv.padding_mode!r}")
    return _conv2d(ctx, conv, x, conv.padding)


@converts_module(nn.Conv1d)
def conv1d(ctx: Context, conv: nn.Conv1d, x: Value) -> Value:
    """Converts the convolution of sequences [batch, channels, length] to Conv1D."""
    if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        raise ctx.unsupported(f"padding {conv.padding!r} with mode {conv.padding_mode!r}")
    x = axis_last(ctx, x, 1)
    tensor = ctx.apply(keras.layers.ZeroPadding1D, x.tensor, part="pad", padding=conv.padding[0])
    layer = ctx.weighted(
        keras.layers.Conv1D,
        filters=conv.out_channels,
        kernel_size=conv.kernel_size,
        strides=conv.stride,
        dilation_rate=conv.dilation,
        groups=conv.groups,
        use_bias=conv.bias is not None,
    )
    tensor = layer(tensor)
    return Value(tensor, (x.shape[0], conv.out_channels, tensor.shape[1]), (0, 2, 1))


@converts_function(F.conv2d)
def conv2d(
    ctx: Context,
    x: Value,
    weight: Value,
    bias: Value | None = None,
    stride: primitives.Size = 1,
    padding: primitives.Size = 0,
    dilation: primitives.Size = 1,
    groups: int = 1,
) -> Value:
    """Converts the convolution of a module that pads by itself, and one whose kernel is made of weights."""
    conv = ctx.module
    if isinstance(conv, nn.Conv2d) and _is_parameter(weight, f"{ctx.path}.weight"):
        return _conv2d(ctx, conv, x, primitives.pair(padding))
    x = primitives.pad(ctx, channels_last(ctx, x), [(p, p) for p in primitives.pair(padding)])
    kernel = ops.transpose(natural(ctx, weight).tensor, (2, 3, 1, 0))
    options = {"strides": primitives.pair(stride), "dilation_rate": primitives.pair(dilation)}
    if groups == x.shape[1] > 1:
        height, width, _, outputs = kernel.shape
        kernel = ops.reshape(kernel, (height, width, groups, outputs // groups))
        product = image_value(ops.depthwise_conv(x.tensor, kernel, padding="valid", **options), x.shape[0])
    else:
        product = image_value(ctx.apply(tensor_layers.Convolution, x.tensor, kernel, **options), x.shape[0])
    return product if bias is None else product.become(product.tensor + bias.tensor)


def _is_parameter(value: Value, name: str) -> bool:
    """Whether a Value is a parameter as it stands."""
    history = getattr(value.tensor, "_keras_history", None)
    return history is not None and isinstance(history.operation, layers.Parameter) and history.operation.name == name


def _conv2d(ctx: Context, conv: nn.Conv2d, x: Value, padding: Sequence[int]) -> Value:
    """Pads apart where "same" is not torch's."""
    x = channels_last(ctx, x)
    kernel, stride, dilation = conv.kernel_size, conv.stride, conv.dilation
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
    return image_value(layer(x.tensor), x.shape[0])


@converts_module(nn.Linear)
def linear(ctx: Context, module: nn.Linear, x: Value) -> Value:
    """Converts to Dense over the last torch axis, wherever the others are stored."""
    x = axis_last(ctx, x, -1)
    layer = ctx.weighted(keras.layers.Dense, units=module.out_features, use_bias=module.bias is not None)
    return Value(layer(x.tensor), (*x.shape[:-1], module.out_features), x.order)


@converts_module(nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.Tanh, nn.Mish)
def activation(ctx: Context, module: nn.Module, x: Value) -> Value:
    """Converts the activations that Keras has under another name."""
    return primitives.activation(ctx, x, primitives.ACTIVATIONS[type(module).__name__.lower()])


@converts_module(nn.LeakyReLU)
def leaky_relu(ctx: Context, module: nn.LeakyReLU, x: Value) -> Value:
    """Converts a ReLU that lets a share of negative numbers through."""
    return arithmetic.leaky_relu(ctx, x, module.negative_slope)


@converts_module(nn.ELU)
def elu(ctx: Context, module: nn.ELU, x: Value) -> Value:
    """Converts the exponential linear unit (Clevert et al. 2016)."""
    return arithmetic.elu(ctx, x, module.alpha)


@converts_module(nn.GELU)
def gelu(ctx: Context, module: nn.GELU, x: Value) -> Value:
    """Converts the exact GELU, and its approximation by tanh."""
    return primitives.gelu(ctx, x, module.approximate)


@converts_module(nn.Dropout)
def dropout(ctx: Context, module: nn.Dropout, x: Value) -> Value:
    """Converts dropout of single elements."""
    return primitives.dropout(ctx, x, module.p)


@converts_module(nn.Dropout2d)
def dropout2d(ctx: Context, module: nn.Dropout2d, x: Value) -> Value:
    """Converts dropout of whole channels to nothing where its rate is 0."""
    if module.p:
        raise ctx.unsupported(f"dropout of whole channels at a rate of {module.p}")
    return x


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
    windows = (pool.kernel_size, pool.stride, pool.padding)
    return primitives.average_pool(ctx, x, *windows, pool.ceil_mode, pool.count_include_pad, pool.divisor_override)


@converts_module(nn.AdaptiveAvgPool2d)
def adaptive_avg_pool2d(ctx: Context, pool: nn.AdaptiveAvgPool2d, x: Value) -> Value:
    """Converts the mean over as many windows as the output has pixels."""
    return primitives.adaptive_average_pool(ctx, x, pool.output_size)


@converts_module(nn.AdaptiveMaxPool2d)
def adaptive_max_pool2d(ctx: Context, pool: nn.AdaptiveMaxPool2d, x: Value) -> Value:
    """Converts the maximum over all pixels."""
    return primitives.adaptive_max_pool(ctx, x, pool.output_size, pool.return_indices)


@converts_module(nn.ZeroPad2d, nn.ConstantPad2d)
def pad2d(ctx: Context, module: nn.ConstantPad2d, x: Value) -> Value:
    """Converts padding by a number."""
    return indexing.pad(ctx, x, module.padding, value=module.value)


@converts_module(nn.Upsample)
def upsample(ctx: Context, module: nn.Upsample, x: Value) -> Value:
    """Converts interpolation to a size, or by a factor."""
    return functions.interpolate(ctx, x, module.size, module.scale_factor, module.mode, module.align_corners)


@converts_module(nn.PixelShuffle)
def pixel_shuffle(ctx: Context, module: nn.PixelShuffle, x: Value) -> Value:
    """Converts the spreading of channels over the pixels of a larger image."""
    return functions.pixel_shuffle(ctx, x, module.upscale_factor)


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
