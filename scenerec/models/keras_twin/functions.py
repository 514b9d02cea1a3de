"""Converters of torch functions, Python operators and tensor methods."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras
import torch
from keras import ops
from torch.nn import functional as F

from scenerec.models.keras_twin import layers, layout, primitives
from scenerec.models.keras_twin.context import Context
from scenerec.models.keras_twin.converters import converts_function, converts_method
from scenerec.models.keras_twin.layout import BATCH, Value, natural, permute, reshape, stored, swap


@converts_function(operator.add, operator.iadd, torch.add)
def add(ctx: Context, a: Any, b: Any) -> Value:
    """Converts a sum, with torch's broadcasting."""
    return _binary(ctx, keras.layers.Add, operator.add, a, b)


@converts_function(operator.mul, operator.imul, torch.mul)
def multiply(ctx: Context, a: Any, b: Any) -> Value:
    """Converts a product, with torch's broadcasting."""
    return _binary(ctx, keras.layers.Multiply, operator.mul, a, b)


def _binary(
    ctx: Context, layer: Callable[..., keras.layers.Layer], function: Callable[[Any, Any], Any], a: Any, b: Any
) -> Value:
    """A commutative operation of two Values, or of a Value and a number."""
    if not isinstance(a, Value) or (isinstance(b, Value) and b.batched and not a.batched):
        a, b = b, a
    if not isinstance(b, Value):
        return a.become(function(a.tensor, b))
    if not b.batched:
        parameter = stored(ctx, _with_leading_axes(b, a.rank), a.order) if a.batched else b
        return a.become(function(a.tensor, parameter.tensor))
    if a.rank != b.rank:
        raise ctx.unsupported(f"broadcasting of {b.shape} to {a.shape}")
    shape = tuple(map(max, zip(a.shape, b.shape, strict=True)))
    order = a.order if a.shape == shape else b.order
    tensor = ctx.apply(layer, [stored(ctx, a, order).tensor, stored(ctx, b, order).tensor])
    return Value(tensor, shape, order, a.nonnegative and b.nonnegative)


def _with_leading_axes(x: Value, rank: int) -> Value:
    shape = (1,) * (rank - x.rank) + x.shape
    return layout.parameter_value(ops.reshape(x.tensor, shape))


@converts_function(F.relu, F.relu6, F.silu, F.hardswish, F.hardsigmoid, torch.relu, torch.sigmoid, torch.tanh)
@converts_method("relu", "sigmoid", "tanh")
def activation(ctx: Context, x: Value, inplace: bool = False) -> Value:
    """Converts the activations that Keras has under another name."""
    return primitives.activation(ctx, x, primitives.ACTIVATIONS[ctx.operation.strip("_")])


@converts_function(F.linear)
def linear(ctx: Context, x: Value, weight: Value, bias: Value | None = None) -> Value:
    """Converts a layer whose weights are asked for by name, over the last torch axis."""
    x = layout.axis_last(ctx, x, -1)
    product = ops.matmul(x.tensor, ops.transpose(natural(ctx, weight).tensor))
    tensor = product if bias is None else product + bias.tensor
    return Value(tensor, (*x.shape[:-1], weight.shape[0]), x.order)


@converts_function(torch.reshape)
@converts_method("view", "reshape")
def view(ctx: Context, x: Value, *shape: Any) -> Value:
    """Converts a change of shape that keeps the elements."""
    return reshape(ctx, x, _sequence(shape))


@converts_function(torch.permute)
@converts_method("permute")
def permute_axes(ctx: Context, x: Value, *dims: Any) -> Value:
    """Converts a permutation of the axes, which only relabels them."""
    return permute(x, _sequence(dims))


@converts_function(torch.transpose, torch.swapaxes)
@converts_method("transpose", "swapaxes")
def transpose(ctx: Context, x: Value, dim0: int, dim1: int) -> Value:
    """Converts the exchange of two axes, which only relabels them."""
    return swap(x, dim0, dim1)


@converts_method("contiguous")
def contiguous(ctx: Context, x: Value) -> Value:
    """Converts `contiguous` to nothing: how a twin stores its values is our choice."""
    return x


@converts_function(torch.cat, torch.concat)
def concatenate(ctx: Context, tensors: Sequence[Value], dim: int = 0) -> Value:
    """Converts the joining of tensors along an axis."""
    first = tensors[0]
    axis = first.axis(dim)
    parts = [stored(ctx, x, first.order).tensor for x in tensors]
    joined = ctx.apply(keras.layers.Concatenate, parts, axis=first.position(axis)) if len(parts) > 1 else parts[0]
    shape = tuple(sum(x.shape[i] for x in tensors) if i == axis else size for i, size in enumerate(first.shape))
    return Value(joined, shape, first.order, all(x.nonnegative for x in tensors))


@converts_function(torch.chunk)
@converts_method("chunk")
def chunk(ctx: Context, x: Value, chunks: int, dim: int = 0) -> tuple[Value, ...]:
    """Converts the cutting of an axis into equal parts."""
    axis = x.axis(dim)
    if x.shape[axis] % chunks:
        raise ctx.unsupported(f"chunk of {x.shape[axis]} into {chunks} unequal parts")
    shape = tuple(size // chunks if i == axis else size for i, size in enumerate(x.shape))
    parts = ops.split(x.tensor, chunks, axis=x.position(axis))
    return tuple(replace(x, tensor=part, shape=shape) for part in parts)


@converts_method("mean")
@converts_function(torch.mean)
def mean(ctx: Context, x: Value, dim: Sequence[int], keepdim: bool = False) -> Value:
    """Converts the mean over all pixels."""
    if x.rank != 4 or sorted(x.axis(d) for d in dim) != [2, 3]:
        raise ctx.unsupported(f"mean over {list(dim)}")
    return primitives.global_average_pool(ctx, x, keepdims=keepdim)


@converts_function(operator.getitem)
def getitem(ctx: Context, x: Any, index: Any) -> Any:
    """Converts an element of a tuple, of a list or of a shape; or x[:, i], one of the second axis of a batch."""
    if not isinstance(x, Value):
        return x[index]
    match index:
        case (slice(start=None, stop=None, step=None), int(position)) if x.batched:
            tensor = ops.take(x.tensor, position % x.shape[1], axis=x.position(1))
            order = tuple(axis - (axis > 1) for axis in x.order if axis != 1)
            return Value(tensor, (BATCH, *x.shape[2:]), order, x.nonnegative)
    raise ctx.unsupported(f"indexing of a tensor with {index}")


@converts_function(torch.unsqueeze)
@converts_method("unsqueeze")
def unsqueeze(ctx: Context, x: Value, dim: int) -> Value:
    """Converts the adding of an axis of length 1, which is stored last."""
    axis = dim % (x.rank + 1)
    if axis == 0:
        raise ctx.unsupported("unsqueeze before the batch axis")
    order = (*(old + (old >= axis) for old in x.order), axis)
    shape = (*x.shape[:axis], 1, *x.shape[axis:])
    return Value(ops.expand_dims(x.tensor, -1), shape, order, x.nonnegative)


@converts_method("expand")
def expand(ctx: Context, x: Value, *sizes: Any) -> Value:
    """Converts the repetition of a parameter for each sample."""
    sizes = tuple(_sequence(sizes))
    if x.batched or x.shape[0] != 1 or sizes[0] != BATCH or set(sizes[1:]) != {-1}:
        raise ctx.unsupported(f"expansion of {x.shape} to {sizes}")
    tensor = ctx.apply(layers.ExpandBatch, natural(ctx, x).tensor, ctx.image)
    return Value(tensor, (BATCH, *x.shape[1:]), tuple(range(x.rank)))


@converts_function(getattr)
def attribute(ctx: Context, x: Value, name: str) -> Any:
    """Converts `shape` and `ndim` to what torch code expects of them."""
    if name not in ("shape", "ndim"):
        raise ctx.unsupported(f"tensor.{name}")
    return x.shape if name == "shape" else x.rank


@converts_method("size")
def size(ctx: Context, x: Value, dim: int | None = None) -> Any:
    """Converts `size()` to the shape, or the length of an axis, as torch code sees it."""
    return x.shape if dim is None else x.shape[dim]


@converts_method("dim")
def dimensions(ctx: Context, x: Value) -> int:
    """Converts `dim()` to the number of axes."""
    return x.rank


def _sequence(arguments: Sequence[Any]) -> Sequence[int]:
    """What torch takes as f(1, 2) and as f((1, 2)) alike."""
    return arguments[0] if len(arguments) == 1 and not isinstance(arguments[0], int) else arguments
