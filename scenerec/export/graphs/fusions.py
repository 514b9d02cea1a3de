"""Patterns of operators that conversion leaves, and the fewer ones that compute the same.

Each is a rule for onnxscript's rewriter: `pattern` is looked for (with the operands of additions and multiplications in
either order), `check` must hold besides, `rewrite` takes its place. What runtimes fuse themselves is left to them.
"""

import math
from typing import Any

import numpy as np
from onnx import ModelProto
from onnxscript import ir
from onnxscript.rewriter import rewrite
from onnxscript.rewriter.pattern import OpsetPatternBuilder, RewriteRule, RewriteRuleSet, Var

_RELATIVE_TOLERANCE = 1e-5
_TO_NHWC, _TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


class HardSigmoid:
    """Finds clip(x + 3, 0, 6) / 6, and makes it HardSigmoid."""

    @staticmethod
    def pattern(op: OpsetPatternBuilder, x: Var, three: Var, low: Var, high: Var, sixth: Var) -> object:
        """Spells the function as Keras computes it."""
        return op.Mul(op.Clip(op.Add(x, three), low, high), sixth, _outputs=["fused"])

    @staticmethod
    def check(context: object, three: ir.Value, low: ir.Value, high: ir.Value, sixth: ir.Value, **_: object) -> bool:
        """Whether the constants are those of the function."""
        return _is(three, 3) and _is(low, 0) and _is(high, 6) and _is(sixth, 1 / 6)

    @staticmethod
    def rewrite(op: Any, x: ir.Value, fused: ir.Value, **_: object) -> ir.Value:
        """Computes the same by one operator."""
        return op.HardSigmoid(x, alpha=1 / 6, beta=0.5, _name=_name(fused, "HardSigmoid"))


class HardSwish:
    """Finds x HardSigmoid(x), and makes it HardSwish.

    onnxruntime takes it apart again; other runtimes have it as one operator.
    """

    @staticmethod
    def pattern(op: OpsetPatternBuilder, x: Var) -> object:
        """Spells the function with HardSigmoid fused already."""
        return op.Mul(x, op.HardSigmoid(x, _allow_other_attributes=True, _outputs=["gate"]), _outputs=["fused"])

    @staticmethod
    def check(context: object, gate: ir.Value, **_: object) -> bool:
        """Whether HardSigmoid has the slope and offset that HardSwish has."""
        node = gate.producer()
        assert node is not None
        slope, offset = node.attributes.get_float("alpha", 0.2), node.attributes.get_float("beta", 0.5)
        return math.isclose(slope, 1 / 6, rel_tol=_RELATIVE_TOLERANCE) and offset == 0.5

    @staticmethod
    def rewrite(op: Any, x: ir.Value, fused: ir.Value, **_: object) -> ir.Value:
        """Computes the same by one operator."""
        return op.HardSwish(x, _name=_name(fused, "HardSwish"))


class Gelu:
    """Finds Keras's exact GELU, 0.5 x (1 - erf(-x √0.5)), and makes it the form that runtimes know."""

    @staticmethod
    def pattern(op: OpsetPatternBuilder, x: Var, half: Var, one: Var, root: Var) -> object:
        """Spells the function as Keras computes it."""
        erfc = op.Sub(one, op.Erf(op.Mul(op.Neg(x), root)))
        return op.Mul(op.Mul(half, x), erfc, _outputs=["fused"])

    @staticmethod
    def check(context: object, half: ir.Value, one: ir.Value, root: ir.Value, **_: object) -> bool:
        """Whether the constants are those of the function."""
        return _is(half, 0.5) and _is(one, 1) and _is(root, math.sqrt(0.5))

    @staticmethod
    def rewrite(op: Any, x: ir.Value, fused: ir.Value, **_: object) -> ir.Value:
        """Computes x (1 + erf(x / √2)) 0.5, which runtimes fuse themselves: the operator itself is of opset 20."""
        name = _name(fused, "Gelu")
        erf = op.Erf(op.Div(x, op.Constant(value_float=math.sqrt(2)), _name=name), _name=name)
        raised = op.Add(erf, op.Constant(value_float=1.0), _name=name)
        return op.Mul(op.Mul(x, raised, _name=name), op.Constant(value_float=0.5), _name=name)


class _LayerNormalization:
    """With s = scale / √(variance + ε): x s + (bias - mean s), over the last axis, or over the channels of images."""

    @staticmethod
    def check(context: object, axis: ir.Value, epsilon: ir.Value, **arrays: ir.Value) -> bool:
        """One scale and one bias for each element of the axis."""
        vectors = [_along(arrays[name], axis) for name in ("scale", "bias") if name in arrays]
        return _scalar(epsilon) is not None and all(vector is not None for vector in vectors)

    @staticmethod
    def rewrite(
        op: Any, x: ir.Value, axis: ir.Value, epsilon: ir.Value, fused: ir.Value, **arrays: ir.Value
    ) -> ir.Value:
        """One operator; channels go to the end and back, by transposes that meet others."""
        vectors = [
            op.Constant(value=ir.tensor(_along(arrays[name], axis))) for name in ("scale", "bias") if name in arrays
        ]
        attributes = {"axis": -1, "epsilon": _scalar(epsilon), "_name": _name(fused, "LayerNormalization")}
        if _is(axis, -1):
            return op.LayerNormalization(x, *vectors, **attributes)
        return op.Transpose(
            op.LayerNormalization(op.Transpose(x, perm=_TO_NHWC), *vectors, **attributes), perm=_TO_NCHW
        )


def _scaled(op: OpsetPatternBuilder, x: Var, axis: Var, epsilon: Var, scale: Var) -> tuple[Var, Var]:
    """x s, and -mean s."""
    mean = op.ReduceMean(x, axis, _allow_other_attributes=True)
    deviation = op.Sub(x, mean)
    variance = op.ReduceMean(op.Mul(deviation, deviation), axis, _allow_other_attributes=True)
    s = op.Mul(op.Reciprocal(op.Sqrt(op.Add(variance, epsilon))), scale)
    return op.Mul(x, s), op.Mul(op.Neg(mean), s)


class LayerNormalization(_LayerNormalization):
    """Finds a layer normalisation, x s + (bias - mean s), and makes it one operator."""

    @staticmethod
    def pattern(op: OpsetPatternBuilder, x: Var, axis: Var, epsilon: Var, scale: Var, bias: Var) -> object:
        """Spells the function as Keras computes it."""
        scaled, offset = _scaled(op, x, axis, epsilon, scale)
        return op.Add(scaled, op.Add(offset, bias), _outputs=["fused"])


class UnbiasedLayerNormalization(_LayerNormalization):
    """Finds a layer normalisation without its bias, x s - mean s: TensorFlow drops one that is zero."""

    @staticmethod
    def pattern(op: OpsetPatternBuilder, x: Var, axis: Var, epsilon: Var, scale: Var) -> object:
        """Spells the function as Keras computes it."""
        scaled, offset = _scaled(op, x, axis, epsilon, scale)
        return op.Add(scaled, offset, _outputs=["fused"])


class ChannelShuffle:
    """Finds ShuffleNet's permutation of channels between NHWC reshapes, and makes them NCHW ones."""

    @staticmethod
    def pattern(op: OpsetPatternBuilder, x: Var, split: Var, merged: Var) -> object:
        """Spells the permutation: [n, c, h, w] to [n, h, w, c]; groups split, swapped, merged."""
        nhwc = op.Transpose(x, perm=_TO_NHWC)
        swapped = op.Transpose(op.Reshape(nhwc, split), perm=(0, 1, 2, 4, 3))
        return op.Reshape(swapped, merged, _outputs=["fused"])

    @staticmethod
    def check(context: object, split: ir.Value, merged: ir.Value, **_: object) -> bool:
        """Whether the channels alone are split."""
        axes, whole = _integers(split), _integers(merged)
        return len(axes) == 5 and len(whole) == 4 and axes[:3] == whole[:3] and axes[3] * axes[4] == whole[3]

    @staticmethod
    def rewrite(op: Any, x: ir.Value, split: ir.Value, fused: ir.Value, **_: object) -> ir.Value:
        """Computes the same on [n, c, h, w], then transposes, which meets its inverse further down."""
        name = _name(fused, "ChannelShuffle")
        batch, height, width, groups, channels = _integers(split)
        shape = op.Constant(value_ints=[batch, groups, channels, height, width])
        swapped = op.Transpose(op.Reshape(x, shape, _name=name), perm=(0, 2, 1, 3, 4), _name=name)
        whole = op.Constant(value_ints=[batch, groups * channels, height, width])
        return op.Transpose(op.Reshape(swapped, whole, _name=name), perm=_TO_NHWC, _name=name)


class PaddedMaxPool:
    """Finds a maximum over windows of what is padded with zeros and nowhere negative, and lets the pool pad.

    Zeros do not win there, as -∞ would not.
    """

    @staticmethod
    def pattern(op: OpsetPatternBuilder, x: Var, amounts: Var) -> object:
        """Spells a pad apart from the pool."""
        padded = op.Pad(x, amounts, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["padded"])
        return op.MaxPool(padded, _allow_other_attributes=True, _outputs=["fused"])

    @staticmethod
    def check(context: object, x: ir.Value, amounts: ir.Value, padded: ir.Value, fused: ir.Value) -> bool:
        """Whether constant zeros are added on the sides of the image alone, and fewer than a window has pixels."""
        pad, pool = padded.producer(), fused.producer()
        assert pad is not None and pool is not None
        sides, window = _integers(amounts), pool.attributes.get_ints("kernel_shape") or ()
        return (
            _nowhere_negative(x)
            and pad.attributes.get_string("mode", "constant") == "constant"
            and all(value is None or _is(value, 0) for value in pad.inputs[2:])
            and pool.attributes.get_string("auto_pad", "NOTSET") == "NOTSET"
            and len(sides) == 8
            and not any((*sides[:2], *sides[4:6]))
            and all(
                0 <= side < pixels for side, pixels in zip((*sides[2:4], *sides[6:]), (*window, *window), strict=True)
            )
            and not any(pool.attributes.get_ints("pads", ()))
        )

    @staticmethod
    def rewrite(op: Any, x: ir.Value, amounts: ir.Value, fused: ir.Value, **_: object) -> ir.Value:
        """Computes the same by a pool that pads."""
        pool = fused.producer()
        assert pool is not None
        sides = _integers(amounts)
        attributes = {**pool.attributes, "pads": ir.AttrInt64s("pads", [*sides[2:4], *sides[6:]])}
        return op.MaxPool(x, _name=pool.name, **attributes)


_FUSIONS = (HardSigmoid, HardSwish, Gelu, LayerNormalization, UnbiasedLayerNormalization, ChannelShuffle, PaddedMaxPool)
_RULES = RewriteRuleSet(
    [RewriteRule(fusion.pattern, fusion.rewrite, fusion.check, name=fusion.__name__) for fusion in _FUSIONS],
    commute=True,
)


def fuse(model: ModelProto) -> ModelProto:
    """Copies a model with all patterns replaced.

    New nodes are named MODULE/OPERATOR after the last of what they replace.
    """
    return rewrite(model, _RULES)


def _name(replaced: ir.Value, operator: str) -> str:
    node = replaced.producer()
    module = (node.name or "").rpartition("/")[0] if node is not None else ""
    return f"{module}/{operator}" if module else operator


def _nowhere_negative(value: ir.Value | None) -> bool:
    node = value.producer() if value is not None else None
    if node is None:
        return False
    chosen = node.op_type in ("Concat", "MaxPool", "Reshape", "Transpose")  # each output is one of the first inputs
    inputs = node.inputs if node.op_type == "Concat" else node.inputs[:1]
    return node.op_type in ("Relu", "Sigmoid", "HardSigmoid") or (chosen and all(map(_nowhere_negative, inputs)))


def _array(value: ir.Value) -> np.ndarray | None:
    return None if value.const_value is None else value.const_value.numpy()


def _scalar(value: ir.Value) -> float | None:
    array = _array(value)
    return float(array.item()) if array is not None and array.size == 1 else None


def _is(value: ir.Value, number: float) -> bool:
    scalar = _scalar(value)
    return scalar is not None and math.isclose(scalar, number, rel_tol=_RELATIVE_TOLERANCE)


def _along(value: ir.Value, axis: ir.Value) -> np.ndarray | None:
    """The vector [n] in a constant that varies along the axis only: [1, 1, n] or [n], and [1, n, 1, 1] for axis 1."""
    array = _array(value)
    if array is None or array.size != max(array.shape, default=0):
        return None
    last = _is(axis, -1) and array.shape[-1] == array.size
    channels = _is(axis, 1) and array.ndim == 4 and array.shape[1] == array.size
    return array.reshape(-1) if last or channels else None


def _integers(value: ir.Value) -> list[int]:
    array = _array(value)
    return [] if array is None else [int(item) for item in array.reshape(-1)]
