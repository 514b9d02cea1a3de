"""Converters of products of matrices, of sums of products, and of attention."""

import math
import operator
from typing import Any

import torch
from keras import ops
from torch.nn import functional as F

from scenerec.models.keras_twin import layout, tensor_layers
from scenerec.models.keras_twin.arithmetic import add
from scenerec.models.keras_twin.context import Context
from scenerec.models.keras_twin.converters import converts_function, converts_method
from scenerec.models.keras_twin.layout import Value, constant, natural


@converts_function(F.linear)
def linear(ctx: Context, x: Value, weight: Value, bias: Value | None = None) -> Value:
    """Converts a layer whose weights are asked for by name, or made of others, over the last torch axis."""
    x = layout.axis_last(ctx, x, -1)
    product = ops.matmul(x.tensor, ops.transpose(natural(ctx, weight).tensor))
    product = x.become(product)
    product = Value(product.tensor, (*x.shape[:-1], weight.shape[0]), x.order)
    return product if bias is None else add(ctx, product, bias)


@converts_function(operator.matmul, torch.matmul, torch.bmm)
@converts_method("matmul", "bmm")
def matmul(ctx: Context, a: Any, b: Any) -> Value:
    """Converts a product of matrices, with torch's broadcasting of the axes before."""
    a, b = natural(ctx, constant(ctx, a)), natural(ctx, constant(ctx, b))
    if min(a.rank, b.rank) < 2 or any(x.batched and x.rank < max(a.rank, b.rank) for x in (a, b)):
        raise ctx.unsupported(f"the product of {a.shape} and {b.shape}")
    rank = max(a.rank, b.rank)
    leading = layout.broadcast(ctx, *((1,) * (rank - x.rank) + x.shape[:-2] for x in (a, b)))
    shape = (*leading, a.shape[-2], b.shape[-1])
    return Value(ops.matmul(a.tensor, b.tensor), shape, tuple(range(rank)))


@converts_function(F.scaled_dot_product_attention)
def attention(
    ctx: Context,
    q: Value,
    k: Value,
    v: Value,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Value:
    """Converts attention without dropout; a mask of truth values becomes a bias of 0 and minus infinity."""
    if dropout_p or is_causal or enable_gqa:
        raise ctx.unsupported("attention with dropout, causal, or with groups of queries")
    if isinstance(attn_mask, torch.Tensor) and attn_mask.dtype == torch.bool:
        attn_mask = torch.zeros_like(attn_mask, dtype=torch.float32).masked_fill(~attn_mask, -math.inf)
    values = [natural(ctx, x) for x in (q, k, v)]
    if attn_mask is not None:
        values.append(natural(ctx, constant(ctx, attn_mask)))
    factor = q.shape[-1] ** -0.5 if scale is None else scale
    tensor = ctx.apply(tensor_layers.ScaledDotProductAttention, *(x.tensor for x in values), scale=factor)
    leading = layout.broadcast(ctx, q.shape[:-2], k.shape[:-2])
    return Value(tensor, (*leading, q.shape[-2], v.shape[-1]), tuple(range(q.rank)))


@converts_function(torch.einsum)
def einsum(ctx: Context, equation: str, *operands: Any) -> Value:
    """Converts a sum of products that is written out with a letter for each axis."""
    listed = operands[0] if len(operands) == 1 and isinstance(operands[0], tuple | list) else operands
    values = [natural(ctx, constant(ctx, each)) for each in listed]
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    if not arrow or "." in equation:
        raise ctx.unsupported(f"einsum {equation!r}, which does not name the axes of its result")
    sizes = {
        letter: size
        for letters, value in zip(inputs.split(","), values, strict=True)
        for letter, size in zip(letters, value.shape, strict=True)
    }
    shape = tuple(sizes[letter] for letter in output)
    if any(size < 0 for size in shape[1:]):
        raise ctx.unsupported(f"einsum {equation!r}, whose result does not begin with the batch")
    tensor = ops.einsum(f"{inputs}->{output}", *(value.tensor for value in values))
    return Value(tensor, shape, tuple(range(len(shape))))
