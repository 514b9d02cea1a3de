"""Lazy layout: torch code speaks of NCHW, the Keras model stores NHWC, and axes move only where an operation needs it.

A `Value` is a Keras tensor with the shape that torch code would see and the order in which the axes are really stored.
`permute` only relabels; `stored` moves data, by a Permute layer, or by a Reshape where only axes of size 1 move.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from operator import mul
from typing import TYPE_CHECKING

import keras
from keras import ops

if TYPE_CHECKING:
    from scenerec.models.keras_twin.context import Context

BATCH = -1
"""The batch size that torch code sees, so that `view(x.size(0), ...)` leaves it open."""

NHWC = (0, 2, 3, 1)


@dataclass(frozen=True)
class Value:
    """A tensor of the twin, as torch code sees it.

    Attributes:
        tensor: the Keras tensor.
        shape: the shape in torch's axis order; the batch axis, if any, is axis 0, is `BATCH`, and is stored
            first.
        order: `order[p]` is the torch axis that is stored at position p.
        nonnegative: it is known to have no negative element.
    """

    tensor: keras.KerasTensor
    shape: tuple[int, ...]
    order: tuple[int, ...]
    nonnegative: bool = False

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def batched(self) -> bool:
        """Whether it has a batch axis; a parameter has none."""
        return self.rank > 0 and self.shape[0] == BATCH

    def axis(self, axis: int) -> int:
        """The torch axis `axis`, which may be negative, counted from the front."""
        return axis % self.rank

    def position(self, axis: int) -> int:
        """The position at which the torch axis `axis` is stored."""
        return self.order.index(self.axis(axis))

    def become(self, tensor: keras.KerasTensor, *, nonnegative: bool = False) -> Value:
        """Another tensor as a Value of the same shape and order."""
        return replace(self, tensor=tensor, nonnegative=nonnegative)


def image_value(tensor: keras.KerasTensor, *, nonnegative: bool = False) -> Value:
    """The Value of an NHWC tensor."""
    _, height, width, channels = tensor.shape
    return Value(tensor, (BATCH, channels, height, width), NHWC, nonnegative)


def parameter_value(tensor: keras.KerasTensor) -> Value:
    """The Value of a tensor without batch axis, stored in torch's order."""
    shape = tuple(tensor.shape)
    return Value(tensor, shape, tuple(range(len(shape))))


def stored(ctx: Context, x: Value, order: Iterable[int]) -> Value:
    """Returns `x` with its axes stored in `order`."""
    order = tuple(order)
    if order == x.order:
        return x
    positions = [x.order.index(axis) for axis in order]
    if not x.batched:
        return replace(x, tensor=ops.transpose(x.tensor, positions), order=order)
    if _extended(x, order) == _extended(x, x.order):
        target = [x.shape[axis] for axis in order[1:]]
        tensor = ctx.apply(keras.layers.Reshape, x.tensor, part="reshape", target_shape=target)
    else:
        tensor = ctx.apply(keras.layers.Permute, x.tensor, part="permute", dims=positions[1:])
    return replace(x, tensor=tensor, order=order)


def natural(ctx: Context, x: Value) -> Value:
    """Returns `x` stored in torch's own order."""
    return stored(ctx, x, range(x.rank))


def channels_last(ctx: Context, x: Value) -> Value:
    """Returns an image batch stored as NHWC, which is what Keras's image layers take."""
    if x.rank != 4:
        raise ctx.unsupported(f"input of shape {x.shape}, which is no image batch")
    return stored(ctx, x, NHWC)


def axis_last(ctx: Context, x: Value, axis: int) -> Value:
    """Returns `x` with the torch axis `axis` stored last."""
    axis = x.axis(axis)
    if x.order[-1] == axis:
        return x
    return stored(ctx, x, [*(other for other in x.order if other != axis), axis])


def permute(x: Value, dims: Sequence[int]) -> Value:
    """Permutes the axes as torch does; no data moves."""
    dims = [x.axis(dim) for dim in dims]
    return replace(x, shape=tuple(x.shape[dim] for dim in dims), order=tuple(dims.index(axis) for axis in x.order))


def swap(x: Value, a: int, b: int) -> Value:
    """Exchanges two axes as torch's transpose does; no data moves."""
    dims = list(range(x.rank))
    dims[a], dims[b] = dims[b], dims[a]
    return permute(x, dims)


def reshape(ctx: Context, x: Value, shape: Sequence[int]) -> Value:
    """Reshapes as torch does. Only axes that are split or merged have to be stored side by side, in order."""
    if not x.batched:
        return parameter_value(ops.reshape(natural(ctx, x).tensor, shape))
    size = math.prod(x.shape[1:])
    new = _resolve(shape[1:], size)
    if not shape or shape[0] != BATCH or math.prod(new) != size:
        raise ctx.unsupported(f"reshape of {x.shape} to {tuple(shape)}, which mixes samples of the batch")
    groups = sorted(
        _matching_groups(x.shape[1:], new),
        key=lambda group: min((x.order.index(axis) for axis in group[0]), default=x.rank),
    )
    x = stored(ctx, x, [0, *(axis for old_axes, _ in groups for axis in old_axes)])
    order = (0, *(axis for _, new_axes in groups for axis in new_axes))
    full = (BATCH, *new)
    target = [full[axis] for axis in order[1:]]
    tensor = ctx.apply(keras.layers.Reshape, x.tensor, part="reshape", target_shape=target)
    return Value(tensor, full, order, x.nonnegative)


def _extended(x: Value, order: Sequence[int]) -> list[int]:
    """The axes of `order` that are longer than 1."""
    return [axis for axis in order if x.shape[axis] != 1]


def _resolve(shape: Sequence[int], size: int) -> tuple[int, ...]:
    """`shape` with its one -1, if any, replaced by what makes `size` elements."""
    known = math.prod(axis for axis in shape if axis != -1)
    return tuple(size // known if axis == -1 else axis for axis in shape)


def _matching_groups(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """The finest runs of axes of `old` and `new` that hold the same elements; the first axis counts as 1."""
    old_ends, new_ends = list(accumulate(old, mul)), list(accumulate(new, mul))
    cuts = sorted({1} | set(old_ends) & set(new_ends))
    groups: list[tuple[list[int], list[int]]] = [([], []) for _ in cuts]
    for side, ends in enumerate((old_ends, new_ends)):
        for axis, end in enumerate(ends, 1):
            groups[bisect_left(cuts, end)][side].append(axis)
    return [group for group in groups if any(group)]
