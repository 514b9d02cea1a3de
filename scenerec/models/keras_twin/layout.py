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
from typing import TYPE_CHECKING, Any

import torch

import keras  # isort: skip
from keras import ops  # isort: skip

if TYPE_CHECKING:
    from scenerec.models.keras_twin.context import Context

BATCH = -1
"""The batch size that torch code sees, so that `view(x.size(0), ...)` leaves it open. Torch code may multiply it: an
axis of the windows of all images, 49 of each, is 49 * BATCH long."""

NHWC = (0, 2, 3, 1)


@dataclass(frozen=True)
class Value:
    """A tensor of the twin, as torch code sees it.

    Attributes:
        tensor: the Keras tensor.
        shape: the shape in torch's axis order; the batch axis, if any, is `BATCH` or a multiple of it, and is stored
            first. It is axis 0 but where torch code has moved it for a while.
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
        return any(size < 0 for size in self.shape)

    @property
    def leads(self) -> bool:
        """Whether the batch axis is axis 0."""
        return self.rank > 0 and self.shape[0] < 0

    def axis(self, axis: int) -> int:
        """The torch axis `axis`, which may be negative, counted from the front."""
        return axis % self.rank

    def position(self, axis: int) -> int:
        """The position at which the torch axis `axis` is stored."""
        return self.order.index(self.axis(axis))

    def become(self, tensor: keras.KerasTensor, *, nonnegative: bool = False) -> Value:
        """Another tensor as a Value of the same shape and order."""
        return replace(self, tensor=tensor, nonnegative=nonnegative)


def image_value(tensor: keras.KerasTensor, batch: int = BATCH, *, nonnegative: bool = False) -> Value:
    """The Value of an NHWC tensor, of all images or of so many windows of each."""
    _, height, width, channels = tensor.shape
    return Value(tensor, (batch, channels, height, width), NHWC, nonnegative)


def parameter_value(tensor: keras.KerasTensor) -> Value:
    """The Value of a tensor without batch axis, stored in torch's order."""
    shape = tuple(tensor.shape)
    return Value(tensor, shape, tuple(range(len(shape))))


def constant(ctx: Context, x: Any) -> Any:
    """A torch tensor that is no weight as a Value, or as a number if it is one; anything else as it is."""
    if not isinstance(x, torch.Tensor):
        return x
    return x.item() if x.ndim == 0 else parameter_value(ctx.constant(x.float().numpy()))


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
    if x.batched and not x.leads:
        raise ctx.unsupported(f"{x.shape}, where the batch is not the first axis")
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
        return parameter_value(ops.reshape(natural(ctx, x).tensor, tuple(shape)))
    if not x.leads or not shape or shape[0] >= 0:
        raise ctx.unsupported(f"reshape of {x.shape} to {tuple(shape)}, which mixes samples of the batch")
    images = -x.shape[0]
    size = images * math.prod(x.shape[1:])
    factor = -shape[0]
    if shape[0] == BATCH and -1 not in shape[1:]:
        factor = size // math.prod(shape[1:])
    new = _resolve(shape[1:], size // factor)
    if factor * math.prod(new) != size:
        raise ctx.unsupported(f"reshape of {x.shape} to {tuple(shape)}, which mixes samples of the batch")
    full = (factor * BATCH, *new)
    if factor != images:
        tensor = ops.reshape(natural(ctx, x).tensor, (-1, *new))
        return Value(tensor, full, tuple(range(len(full))), x.nonnegative)
    groups = sorted(
        _matching_groups(x.shape[1:], new),
        key=lambda group: min((x.order.index(axis) for axis in group[0]), default=x.rank),
    )
    x = stored(ctx, x, [0, *(axis for old_axes, _ in groups for axis in old_axes)])
    order = (0, *(axis for _, new_axes in groups for axis in new_axes))
    target = [full[axis] for axis in order[1:]]
    tensor = ctx.apply(keras.layers.Reshape, x.tensor, part="reshape", target_shape=target)
    return Value(tensor, full, order, x.nonnegative)


def with_leading_axes(x: Value, rank: int) -> Value:
    """Puts axes of length 1 before a Value without batch, up to `rank`."""
    if x.rank == rank:
        return x
    more = rank - x.rank
    shape = (1,) * more + x.shape
    return Value(ops.expand_dims(x.tensor, tuple(range(more))), shape, (*range(more), *(a + more for a in x.order)))


def without(x: Value, axes: Sequence[int], tensor: keras.KerasTensor) -> Value:
    """`tensor`, which is stored as `x` but for `axes`, as a Value."""
    left = [axis for axis in range(x.rank) if axis not in axes]
    order = tuple(left.index(axis) for axis in x.order if axis not in axes)
    return Value(tensor, tuple(x.shape[axis] for axis in left), order, x.nonnegative)


def broadcast(ctx: Context, a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    """The shape to which two of one rank are brought."""
    shape = tuple(y if x == 1 else x for x, y in zip(a, b, strict=True))
    if any(size not in (1, full) for each in (a, b) for size, full in zip(each, shape, strict=True)):
        raise ctx.unsupported(f"broadcasting of {tuple(b)} to {tuple(a)}")
    return shape


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
