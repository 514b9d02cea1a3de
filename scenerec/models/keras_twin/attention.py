"""Converters of attention modules: torch's own, and those of torchvision's Swin and MaxViT."""

from typing import Any

import keras
from torch import nn
from torchvision.models import maxvit, swin_transformer

from scenerec.models.keras_twin import attention_layers
from scenerec.models.keras_twin.context import Context
from scenerec.models.keras_twin.converters import converts_module
from scenerec.models.keras_twin.layout import BATCH, Value, natural


@converts_module(nn.MultiheadAttention)
def multihead_attention(
    ctx: Context, attention: nn.MultiheadAttention, query: Value, key: Value, value: Value, need_weights: bool = True
) -> tuple[Value, None]:
    """Converts torch's MultiheadAttention of a sequence to itself, without the weights that torch can return beside."""
    plain = attention.in_proj_weight is not None and attention.in_proj_bias is not None and attention.bias_k is None
    if not (query is key is value and attention.batch_first and plain and attention.dropout == 0.0):
        raise ctx.unsupported("MultiheadAttention other than batch-first self-attention with bias, without dropout")
    if need_weights:
        raise ctx.unsupported("MultiheadAttention that returns its weights")
    return _attention(ctx, attention_layers.MultiheadAttention, query, heads=attention.num_heads), None


@converts_module(maxvit.RelativePositionalMultiHeadAttention)
def relative_positional_attention(
    ctx: Context, attention: maxvit.RelativePositionalMultiHeadAttention, x: Value
) -> Value:
    """Converts MaxViT's attention within windows, with relative position biases (Tu et al. 2022)."""
    return _attention(
        ctx, attention_layers.RelativePositionalAttention, x, heads=attention.n_heads, side=attention.size
    )


@converts_module(swin_transformer.ShiftedWindowAttention)
def shifted_window_attention(ctx: Context, attention: swin_transformer.ShiftedWindowAttention, x: Value) -> Value:
    """Converts Swin's attention within shifted windows (Liu et al. 2021)."""
    return _shifted_window(ctx, attention_layers.ShiftedWindowAttention, attention, x)


@converts_module(swin_transformer.ShiftedWindowAttentionV2)
def shifted_window_attention_v2(ctx: Context, attention: swin_transformer.ShiftedWindowAttentionV2, x: Value) -> Value:
    """Converts Swin V2's attention within shifted windows: cosine scores, continuous biases (Liu et al. 2022)."""
    return _shifted_window(ctx, attention_layers.ShiftedWindowAttentionV2, attention, x)


@converts_module(swin_transformer.PatchMerging)
def patch_merging(ctx: Context, merging: swin_transformer.PatchMerging, x: Value) -> Value:
    """Converts Swin's PatchMerging: four pixels become one, which is normalised, then reduced."""
    tensor = ctx.apply(attention_layers.PatchMerging, natural(ctx, x).tensor)
    return _natural_value(_reduction(ctx, merging)(_norm(ctx, merging)(tensor)))


@converts_module(swin_transformer.PatchMergingV2)
def patch_merging_v2(ctx: Context, merging: swin_transformer.PatchMergingV2, x: Value) -> Value:
    """Converts Swin V2's PatchMerging: four pixels become one, which is reduced, then normalised."""
    tensor = ctx.apply(attention_layers.PatchMerging, natural(ctx, x).tensor)
    return _natural_value(_norm(ctx, merging)(_reduction(ctx, merging)(tensor)))


def _shifted_window(ctx: Context, layer: type, attention: swin_transformer.ShiftedWindowAttention, x: Value) -> Value:
    if attention.attention_dropout or attention.dropout or attention.qkv.bias is None or attention.proj.bias is None:
        raise ctx.unsupported("shifted-window attention with dropout or without bias")
    config = {"heads": attention.num_heads, "window": attention.window_size, "shift": attention.shift_size}
    return _attention(ctx, layer, x, **config)


def _attention(ctx: Context, layer: type, x: Value, **config: Any) -> Value:
    x = natural(ctx, x)
    return x.become(ctx.weighted(layer, **config)(x.tensor))


def _norm(ctx: Context, merging: nn.Module) -> keras.layers.Layer:
    return ctx.weighted(keras.layers.LayerNormalization, f"{ctx.path}.norm", epsilon=merging.norm.eps)


def _reduction(ctx: Context, merging: nn.Module) -> keras.layers.Layer:
    return ctx.weighted(
        keras.layers.Dense, f"{ctx.path}.reduction", units=merging.reduction.out_features, use_bias=False
    )


def _natural_value(tensor: keras.KerasTensor) -> Value:
    shape = (BATCH, *tensor.shape[1:])
    return Value(tensor, shape, tuple(range(len(shape))))
