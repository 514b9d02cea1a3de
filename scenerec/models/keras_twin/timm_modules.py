"""Converters of what cannot be traced in timm, since it depends on the mode or on the size.

Importing timm takes seconds: nothing but the twin of a network of timm imports this module.
"""

from typing import Any

import torch
from timm.layers import DropPath, resample_abs_pos_embed
from timm.models.edgenext import PositionalEncodingFourier

from scenerec.models.keras_twin import primitives, products
from scenerec.models.keras_twin.context import Context
from scenerec.models.keras_twin.converters import converts_function, converts_module
from scenerec.models.keras_twin.layout import Value


@converts_module(DropPath)
def drop_path(ctx: Context, module: DropPath, x: Value) -> Value:
    """Converts dropout of whole samples (Huang et al. 2016)."""
    if not module.scale_by_keep:
        raise ctx.unsupported("DropPath that does not scale what is kept")
    return primitives.dropout(ctx, x, module.drop_prob, rows=True)


@converts_function(resample_abs_pos_embed)
def position_embedding(ctx: Context, positions: Value, *args: Any, **kwargs: Any) -> Value:
    """Converts the interpolation of position embeddings [1, n, width] to another grid by its matrix [m, n]."""
    unit = torch.eye(positions.shape[1])[None]
    matrix = resample_abs_pos_embed(unit, *args, **kwargs)
    return positions if matrix is unit else products.matmul(ctx, matrix[0], positions)


@converts_module(PositionalEncodingFourier)
def fourier_positions(ctx: Context, module: PositionalEncodingFourier, shape: tuple[int, int, int]) -> Value:
    """Converts EdgeNeXt's encoding of positions, which counts them in a mask of all images: here in that of one."""
    projected = module.forward((1, *shape[1:]))  # traced, as its projection is a layer
    value: Value = projected.node.meta["value"]
    return value
