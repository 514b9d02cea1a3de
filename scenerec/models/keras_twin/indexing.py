"""Converters of what takes tensors apart, and puts them together: parts, joins, padding, rolling, repetition."""

import operator
from collections.abc import Sequence
from typing import Any

import keras
import torch
from keras import ops
from torch.nn import functional as F

from scenerec.models.keras_twin import layers, layout, tensor_layers
from scenerec.models.keras_twin.context import Context
from scenerec.models.keras_twin.converters import converts_function, converts_method
from scenerec.models.keras_twin.layout import BATCH, Value, constant, natural, stored
from scenerec.models.keras_twin.primitives import sequence


@converts_function(torch.cat, torch.concat)
def concatenate(ctx: Context, tensors: Sequence[Any], dim: int = 0) -> Value:
    """Converts the joining of tensors along an axis."""
    values = [constant(ctx, each) for each in tensors]
    first = next((x for x in values if x.batched), values[0])
    axis = first.axis(dim)
    if first.shape[axis] < 0 or any(x.batched != first.batched for x in values):
        raise ctx.unsupported(f"the joining of {[x.shape for x in values]}")
    parts = [stored(ctx, x, first.order).tensor for x in values]
    joined = ctx.apply(keras.layers.Concatenate, parts, axis=first.position(axis)) if len(parts) > 1 else parts[0]
    shape = tuple(sum(x.shape[i] for x in values) if i == axis else size for i, size in enumerate(first.shape))
    return Value(joined, shape, first.order, all(x.nonnegative for x in values))


@converts_function(torch.stack)
def stack(ctx: Context, tensors: Sequence[Any], dim: int = 0) -> Value:
    """Converts the joining of tensors along a new axis."""
    values = [constant(ctx, each) for each in tensors]
    axis = dim % (values[0].rank + 1)
    return concatenate(ctx, [unsqueeze(ctx, x, axis) for x in values], axis)


@converts_function(torch.chunk)
@converts_method("chunk")
def chunk(ctx: Context, x: Value, chunks: int, dim: int = 0) -> tuple[Value, ...]:
    """Converts the cutting of an axis into equal parts."""
    if x.shape[x.axis(dim)] % chunks:
        raise ctx.unsupported(f"chunk of {x.shape[x.axis(dim)]} into {chunks} unequal parts")
    return split(ctx, x, x.shape[x.axis(dim)] // chunks, dim)


@converts_function(torch.split)
@converts_method("split")
def split(ctx: Context, x: Value, size: int | Sequence[int], dim: int = 0) -> tuple[Value, ...]:
    """Converts the cutting of an axis into parts of some sizes."""
    axis = x.axis(dim)
    length = x.shape[axis]
    if length < 0:
        raise ctx.unsupported("the splitting of a batch")
    sizes = [min(size, length - start) for start in range(0, length, size)] if isinstance(size, int) else size
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return tuple(narrow(ctx, x, axis, start, part) for start, part in zip(starts, sizes, strict=True))


@converts_function(torch.narrow)
@converts_method("narrow")
def narrow(ctx: Context, x: Value, dim: int, start: int, length: int) -> Value:
    """Converts a run of an axis."""
    return _parts(ctx, x, {x.axis(dim): slice(start, start + length)})


@converts_function(torch.unbind)
@converts_method("unbind")
def unbind(ctx: Context, x: Value, dim: int = 0) -> tuple[Value, ...]:
    """Converts the taking apart along an axis, which goes away."""
    axis = x.axis(dim)
    return tuple(_parts(ctx, x, {axis: number}) for number in range(x.shape[axis]))


@converts_function(torch.select)
@converts_method("select")
def select(ctx: Context, x: Value, dim: int, index: int) -> Value:
    """Converts one of an axis, which goes away."""
    return _parts(ctx, x, {x.axis(dim): index})


@converts_function(torch.flip)
@converts_method("flip")
def flip(ctx: Context, x: Value, *dims: Any) -> Value:
    """Converts the reversal of some axes."""
    return _parts(ctx, x, {x.axis(dim): slice(None, None, -1) for dim in sequence(dims)})


@converts_function(operator.getitem)
def getitem(ctx: Context, x: Any, index: Any) -> Any:
    """Converts basic indexing, and rows of a parameter by their numbers."""
    if not isinstance(x, Value):
        return x[index]
    key = list(index) if isinstance(index, tuple) else [index]
    if isinstance(key[-1], torch.Tensor) and all(part == slice(None) for part in key[:-1]):
        return _rows(ctx, x, len(key) - 1, key[-1])
    if not all(part is None or part is Ellipsis or isinstance(part, int | slice) for part in key):
        raise ctx.unsupported(f"indexing of a tensor with {index}")
    taken = sum(part is not None and part is not Ellipsis for part in key)
    if Ellipsis not in key:
        key.append(Ellipsis)
    place = key.index(Ellipsis)
    key[place : place + 1] = [slice(None)] * (x.rank - taken)
    wanted: dict[int, int | slice] = {}
    new, axis, left = [], 0, 0
    for part in key:
        if part is None:
            new.append(left)
            left += 1
            continue
        if part != slice(None):
            wanted[axis] = part
        left += not isinstance(part, int)
        axis += 1
    x = _parts(ctx, x, wanted)
    for position in new:
        x = unsqueeze(ctx, x, position)
    return x


def _parts(ctx: Context, x: Value, wanted: dict[int, int | slice]) -> Value:
    """Of each axis in `wanted` a number, which takes it away, or a slice."""
    if any(x.shape[axis] < 0 for axis in wanted):
        raise ctx.unsupported("indexing of the batch")
    if not wanted:
        return x
    key: list[Any] = [[None, None, None]] * x.rank
    shape = list(x.shape)
    for axis, part in wanted.items():
        if isinstance(part, int):
            key[x.position(axis)] = part % x.shape[axis]
        else:
            key[x.position(axis)] = [part.start, part.stop, part.step]
            shape[axis] = len(range(*part.indices(x.shape[axis])))
    tensor = ctx.apply(tensor_layers.Index, x.tensor, key=key)
    kept = Value(tensor, tuple(shape), x.order, x.nonnegative)
    return layout.without(kept, [axis for axis, part in wanted.items() if isinstance(part, int)], tensor)


def _rows(ctx: Context, table: Value, axis: int, rows: torch.Tensor) -> Value:
    """Along an axis those of some numbers, in the shape that the numbers have."""
    if table.batched or rows.dtype != torch.int64:
        raise ctx.unsupported("indexing by a tensor of other than a parameter by int64")
    front = natural(ctx, layout.permute(table, [axis, *(other for other in range(table.rank) if other != axis)]))
    values = tensor_layers.pack(rows.numpy() % table.shape[axis])
    tensor = ctx.apply(tensor_layers.Gather, front.tensor, shape=list(rows.shape), values=values)
    shape = (*rows.shape, *front.shape[1:])
    found = Value(tensor, shape, tuple(range(len(shape))))
    before = range(rows.ndim, rows.ndim + axis)
    return layout.permute(found, [*before, *range(rows.ndim), *range(rows.ndim + axis, found.rank)])


@converts_function(torch.unsqueeze)
@converts_method("unsqueeze")
def unsqueeze(ctx: Context, x: Value, dim: int) -> Value:
    """Converts the adding of an axis of length 1, which is stored last."""
    axis = dim % (x.rank + 1)
    if x.leads and axis == 0:
        raise ctx.unsupported("unsqueeze before the batch axis")
    order = (*(old + (old >= axis) for old in x.order), axis)
    shape = (*x.shape[:axis], 1, *x.shape[axis:])
    return Value(ops.expand_dims(x.tensor, -1), shape, order, x.nonnegative)


@converts_function(torch.squeeze)
@converts_method("squeeze")
def squeeze(ctx: Context, x: Value, dim: int | Sequence[int]) -> Value:
    """Converts the taking away of axes of length 1."""
    axes = [x.axis(each) for each in ([dim] if isinstance(dim, int) else dim)]
    axes = [axis for axis in axes if x.shape[axis] == 1]
    if not axes:
        return x
    return layout.without(x, axes, ops.squeeze(x.tensor, axis=tuple(x.position(axis) for axis in axes)))


@converts_method("expand")
def expand(ctx: Context, x: Value, *sizes: Any) -> Value:
    """Converts the repetition of a parameter for each sample, and of axes of length 1."""
    sizes = tuple(sequence(sizes))
    x = layout.with_leading_axes(x, len(sizes)) if not x.batched else x
    if len(sizes) != x.rank:
        raise ctx.unsupported(f"expansion of {x.shape} to {sizes}")
    if not x.batched and x.shape[0] == 1 and sizes[0] == BATCH:
        tensor = ctx.apply(layers.ExpandBatch, natural(ctx, x).tensor, ctx.image)
        x = Value(tensor, (BATCH, *x.shape[1:]), tuple(range(x.rank)))
    kept = [size in (-1, old) for size, old in zip(sizes, x.shape, strict=True)]
    if any(not keeps and (old != 1 or size < 0) for keeps, old, size in zip(kept, x.shape, sizes, strict=True)):
        raise ctx.unsupported(f"expansion of {x.shape} to {sizes}")
    tensor = x.tensor
    for axis, keeps in enumerate(kept):
        if not keeps:
            tensor = ops.repeat(tensor, sizes[axis], axis=x.position(axis))
    shape = tuple(old if keeps else size for keeps, old, size in zip(kept, x.shape, sizes, strict=True))
    return Value(tensor, shape, x.order, x.nonnegative)


@converts_method("expand_as")
def expand_as(ctx: Context, x: Value, other: Value) -> Value:
    """Converts the repetition up to another's shape."""
    return expand(ctx, x, *other.shape)


@converts_method("repeat")
def repeat(ctx: Context, x: Value, *counts: Any) -> Value:
    """Converts the repetition of whole axes."""
    counts = tuple(sequence(counts))
    if not x.batched and counts[0] == BATCH and x.shape[0] == 1:
        x = expand(ctx, x, BATCH, *x.shape[1:])
        counts = (1, *counts[1:])
    if len(counts) != x.rank or (x.batched and counts[0] != 1):
        raise ctx.unsupported(f"repetition of {x.shape} by {counts}")
    tensor = ops.tile(x.tensor, [counts[axis] for axis in x.order])
    return Value(tensor, tuple(a * b for a, b in zip(x.shape, counts, strict=True)), x.order, x.nonnegative)


@converts_function(torch.roll)
@converts_method("roll")
def roll(ctx: Context, x: Value, shifts: int | Sequence[int], dims: int | Sequence[int] = ()) -> Value:
    """Converts the moving of what lies along axes, in a circle."""
    shifts = [shifts] if isinstance(shifts, int) else list(shifts)
    axes = [x.axis(dim) for dim in ([dims] if isinstance(dims, int) else dims)]
    if len(axes) != len(shifts) or any(x.shape[axis] < 0 for axis in axes):
        raise ctx.unsupported(f"roll over {dims}")
    tensor = ops.roll(x.tensor, tuple(shifts), axis=tuple(x.position(axis) for axis in axes))
    return x.become(tensor, nonnegative=x.nonnegative)


@converts_function(F.pad)
def pad(ctx: Context, x: Value, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Value:
    """Converts padding, which torch counts from the last axis."""
    if not any(pad):
        return x
    widths = [(0, 0)] * x.rank
    for number in range(len(pad) // 2):
        widths[x.position(x.rank - 1 - number)] = (pad[2 * number], pad[2 * number + 1])
    shape = tuple(size + sum(widths[x.position(axis)]) for axis, size in enumerate(x.shape))
    if min(map(min, widths)) < 0 or mode not in ("constant", "reflect") or (x.batched and any(widths[0])):
        raise ctx.unsupported(f"padding by {tuple(pad)} in mode {mode!r}")
    fill = {"constant_values": value or 0.0} if mode == "constant" else {}
    tensor = ops.pad(x.tensor, widths, mode=mode, **fill)
    return Value(tensor, shape, x.order, x.nonnegative and (value or 0.0) >= 0)
