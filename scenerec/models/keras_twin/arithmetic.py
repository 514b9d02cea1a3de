"""Converters of arithmetic: sums and products, functions of single elements, reductions."""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import keras
import torch
from keras import ops
from torch.nn import functional as F

from scenerec.models.keras_twin import layout, primitives, tensor_layers
from scenerec.models.keras_twin.context import Context
from scenerec.models.keras_twin.converters import converts_function, converts_method, converts_module
from scenerec.models.keras_twin.layout import Value, constant, stored

Operation = Callable[[Any, Any], Any]


@converts_function(operator.add, operator.iadd, torch.add)
@converts_method("add", "add_")
def add(ctx: Context, a: Any, b: Any) -> Value:
    """Converts a sum, with torch's broadcasting."""
    return _binary(ctx, operator.add, a, b, keras.layers.Add)


@converts_function(operator.sub, operator.isub, torch.sub)
@converts_method("sub")
def subtract(ctx: Context, a: Any, b: Any) -> Value:
    """Converts a difference, with torch's broadcasting."""
    return _binary(ctx, operator.sub, a, b)


@converts_function(operator.mul, operator.imul, torch.mul)
@converts_method("mul", "mul_")
def multiply(ctx: Context, a: Any, b: Any) -> Value:
    """Converts a product, with torch's broadcasting."""
    return _binary(ctx, operator.mul, a, b, keras.layers.Multiply)


@converts_function(operator.truediv, operator.itruediv, torch.div)
@converts_method("div")
def divide(ctx: Context, a: Any, b: Any) -> Value:
    """Converts a quotient, with torch's broadcasting."""
    return _binary(ctx, operator.truediv, a, b)


@converts_function(torch.maximum)
def maximum(ctx: Context, a: Any, b: Any) -> Value:
    """Converts the larger of two."""
    return _binary(ctx, ops.maximum, a, b)


@converts_function(torch.addcmul)
def add_product(ctx: Context, a: Any, b: Any, c: Any, value: float = 1) -> Value:
    """Converts a + value * b * c."""
    product = multiply(ctx, b, c)
    return add(ctx, a, product if value == 1 else multiply(ctx, product, value))


def _binary(
    ctx: Context, function: Operation, a: Any, b: Any, layer: Callable[..., keras.layers.Layer] | None = None
) -> Value:
    """An operation of two Values, or of a Value and a number; `layer` is a commutative one that does it."""
    a, b = constant(ctx, a), constant(ctx, b)
    if not isinstance(b, Value):
        return a.become(function(a.tensor, b))
    if not isinstance(a, Value):
        return b.become(function(a, b.tensor))
    rank = max(a.rank, b.rank)
    if any(x.batched and x.rank < rank for x in (a, b)):
        raise ctx.unsupported(f"broadcasting of {b.shape} to {a.shape}")
    a, b = layout.with_leading_axes(a, rank), layout.with_leading_axes(b, rank)
    shape = layout.broadcast(ctx, a.shape, b.shape)
    order = next((x.order for x in (a, b) if x.batched and x.shape == shape), a.order if a.batched else b.order)
    left, right = stored(ctx, a, order).tensor, stored(ctx, b, order).tensor
    if layer is not None and a.batched and b.batched:
        return Value(ctx.apply(layer, [left, right]), shape, order, a.nonnegative and b.nonnegative)
    return Value(function(left, right), shape, order)


@converts_function(
    *(F.relu, F.relu6, F.silu, F.hardswish, F.hardsigmoid, F.mish, torch.relu, torch.sigmoid, torch.tanh),
    *(F.sigmoid, F.tanh),
)
@converts_method("relu", "sigmoid", "tanh", "sigmoid_", "relu_")
def activation(ctx: Context, x: Value, inplace: bool = False) -> Value:
    """Converts the activations that Keras has under another name."""
    return primitives.activation(ctx, x, primitives.ACTIVATIONS[ctx.operation.strip("_")])


@converts_function(F.gelu)
def gelu(ctx: Context, x: Value, approximate: str = "none") -> Value:
    """Converts the exact GELU, and its approximation by tanh."""
    return primitives.gelu(ctx, x, approximate)


@converts_function(F.leaky_relu)
def leaky_relu(ctx: Context, x: Value, negative_slope: float = 0.01, inplace: bool = False) -> Value:
    """Converts a ReLU that lets a share of negative numbers through."""
    return x.become(ops.leaky_relu(x.tensor, negative_slope))


@converts_function(F.elu)
def elu(ctx: Context, x: Value, alpha: float = 1.0, inplace: bool = False) -> Value:
    """Converts the exponential linear unit (Clevert et al. 2016)."""
    return x.become(ops.elu(x.tensor, alpha))


@converts_function(operator.neg, torch.neg)
@converts_method("neg")
def negative(ctx: Context, x: Value) -> Value:
    """Converts -x."""
    return x.become(ops.negative(x.tensor))


@converts_function(operator.pow, torch.pow, torch.square)
@converts_method("pow", "square")
def power(ctx: Context, x: Value, exponent: float = 2) -> Value:
    """Converts a power, of which only whole ones have gradients everywhere."""
    return x.become(ops.square(x.tensor) if exponent == 2 else ops.power(x.tensor, exponent))


@converts_function(torch.sqrt)
@converts_method("sqrt")
def square_root(ctx: Context, x: Value) -> Value:
    """Converts the square root."""
    return x.become(ops.sqrt(x.tensor), nonnegative=True)


@converts_function(torch.rsqrt)
@converts_method("rsqrt")
def reciprocal_square_root(ctx: Context, x: Value) -> Value:
    """Converts 1 / sqrt(x)."""
    return x.become(ops.rsqrt(x.tensor), nonnegative=True)


@converts_function(torch.log)
@converts_method("log")
def logarithm(ctx: Context, x: Value) -> Value:
    """Converts the natural logarithm."""
    return x.become(ops.log(x.tensor))


@converts_function(torch.abs)
@converts_method("abs")
def absolute(ctx: Context, x: Value) -> Value:
    """Converts the distance from 0."""
    return x.become(ops.absolute(x.tensor), nonnegative=True)


@converts_function(F.softplus)
def softplus(ctx: Context, x: Value) -> Value:
    """Converts log(1 + exp(x)), of which torch has x itself above 20."""
    return x.become(ops.softplus(x.tensor), nonnegative=True)


@converts_function(torch.exp)
@converts_method("exp")
def exponential(ctx: Context, x: Value) -> Value:
    """Converts e to the power of x."""
    return x.become(ops.exp(x.tensor), nonnegative=True)


@converts_function(torch.clamp)
@converts_method("clamp", "clamp_")
def clamp(ctx: Context, x: Value, min: float | None = None, max: float | None = None) -> Value:
    """Converts the cutting off of what is too small or too large."""
    tensor = x.tensor
    if max is not None:
        tensor = ops.minimum(tensor, max)
    if min is not None:
        tensor = ops.maximum(tensor, min)
    return x.become(tensor, nonnegative=min is not None and min >= 0)


@converts_method("mean")
@converts_function(torch.mean)
def mean(ctx: Context, x: Value, dim: int | Sequence[int], keepdim: bool = False) -> Value:
    """Converts the mean over some axes."""
    axes = sorted(x.axis(each) for each in ([dim] if isinstance(dim, int) else dim))
    if x.rank == 4 and axes == [2, 3] and x.leads:
        return primitives.global_average_pool(ctx, x, keepdims=keepdim)
    return _reduce(ctx, ops.mean, x, axes, keepdim)


@converts_method("sum")
@converts_function(torch.sum)
def total(ctx: Context, x: Value, dim: int | Sequence[int], keepdim: bool = False) -> Value:
    """Converts the sum over some axes."""
    return _reduce(ctx, ops.sum, x, [x.axis(each) for each in ([dim] if isinstance(dim, int) else dim)], keepdim)


@converts_method("amax")
@converts_function(torch.amax)
def largest(ctx: Context, x: Value, dim: int | Sequence[int], keepdim: bool = False) -> Value:
    """Converts the maximum over some axes."""
    return _reduce(ctx, ops.max, x, [x.axis(each) for each in ([dim] if isinstance(dim, int) else dim)], keepdim)


@converts_method("var")
@converts_function(torch.var)
def variance(
    ctx: Context,
    x: Value,
    dim: int | Sequence[int],
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Value:
    """Converts the variance over some axes, by default with Bessel's correction."""
    axes = [x.axis(each) for each in ([dim] if isinstance(dim, int) else dim)]
    count = math.prod(x.shape[axis] for axis in axes)
    less = float(unbiased) if correction is None else correction
    centred = subtract(ctx, x, _reduce(ctx, ops.mean, x, axes, keepdim=True))
    return multiply(ctx, _reduce(ctx, ops.sum, power(ctx, centred, 2), axes, keepdim), 1 / (count - less))


def _reduce(
    ctx: Context, function: Callable[..., keras.KerasTensor], x: Value, axes: Sequence[int], keepdim: bool
) -> Value:
    if any(x.shape[axis] < 0 for axis in axes):
        raise ctx.unsupported(f"{ctx.operation} over the batch")
    tensor = function(x.tensor, axis=tuple(x.position(axis) for axis in axes), keepdims=keepdim)
    if keepdim:
        return Value(tensor, tuple(1 if i in axes else size for i, size in enumerate(x.shape)), x.order)
    return layout.without(x, axes, tensor)


@converts_function(torch.norm, torch.linalg.vector_norm)
@converts_method("norm")
def norm(ctx: Context, x: Value, p: float = 2, dim: int | Sequence[int] = (), keepdim: bool = False) -> Value:
    """Converts the Euclidean length along some axes."""
    axes = [x.axis(each) for each in ([dim] if isinstance(dim, int) else dim)]
    if p != 2 or not keepdim or not axes:
        raise ctx.unsupported(f"norm {p} over {dim}, which takes axes away")
    tensor = ctx.apply(tensor_layers.EuclideanNorm, x.tensor, axes=[x.position(axis) for axis in axes])
    return Value(tensor, tuple(1 if i in axes else size for i, size in enumerate(x.shape)), x.order, nonnegative=True)


@converts_function(F.normalize)
def normalize(ctx: Context, x: Value, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Value:
    """Converts the division of vectors by their lengths."""
    return divide(ctx, x, clamp(ctx, norm(ctx, x, p, dim, keepdim=True), min=eps))


@converts_module(torch.nn.Softmax)
def softmax_module(ctx: Context, module: torch.nn.Softmax, x: Value) -> Value:
    """Converts softmax over an axis."""
    return softmax(ctx, x, -1 if module.dim is None else module.dim)


@converts_function(F.softmax, torch.softmax)
@converts_method("softmax")
def softmax(ctx: Context, x: Value, dim: int, dtype: torch.dtype | None = None) -> Value:
    """Converts softmax over an axis."""
    tensor = ctx.apply(tensor_layers.Softmax, x.tensor, axis=x.position(dim))
    return x.become(tensor, nonnegative=True)
