"""Attention layers of the twins, each the whole of one torch or torchvision module. No torch here."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from typing_extensions import override

from scenerec.models.keras_twin.layers import Shape, TwinLayer, serialisable

_MASKED = -100.0
"""What torchvision adds to the score of a pair of pixels that are no neighbours."""


class _Attention(TwinLayer):
    """Multi-head self-attention whose projections are torch's Linear layers `qkv` and `out`, of the input's width."""

    # torch's names, within the module, of the projections' weights
    qkv_names = ("qkv.weight", "qkv.bias")
    out_names = ("proj.weight", "proj.bias")

    def __init__(self, heads: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads = heads
        self._torch_names: dict[str, keras.Variable] = {}

    @override
    def build(self, input_shape: Shape) -> None:
        """Make the projections for inputs [..., width]."""
        width: Any = input_shape[-1]
        self.qkv_weight, self.qkv_bias = self._linear(self.qkv_names, 3 * width, width)
        self.out_weight, self.out_bias = self._linear(self.out_names, width, width)

    @override
    def neutral_weights(self) -> dict[str, keras.Variable]:
        return {f"{self.name}.{name}": variable for name, variable in self._torch_names.items()}

    @override
    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "heads": self.heads}

    def _weight(self, name: str, shape: Sequence[int], trainable: bool = True) -> keras.Variable:
        """A weight under its torch name."""
        variable = self.add_weight(
            name=name.replace(".", "_"), shape=tuple(shape), initializer="zeros", trainable=trainable
        )
        self._torch_names[name] = variable
        return variable

    def _linear(self, names: tuple[str, str], outputs: int, inputs: int) -> tuple[keras.Variable, keras.Variable]:
        return self._weight(names[0], (outputs, inputs)), self._weight(names[1], (outputs,))

    def _split_heads(self, x: tf.Tensor, bias: tf.Tensor) -> list[tf.Tensor]:
        """[..., length, width] -> queries, keys and values, each [..., heads, length, width / heads]."""
        qkv = _project(x, self.qkv_weight, bias)
        shape = tf.concat([tf.shape(x)[:-1], [self.heads, x.shape[-1] // self.heads]], axis=0)
        return [_swap_heads(tf.reshape(part, shape)) for part in tf.split(qkv, 3, axis=-1)]

    def _merge_heads(self, x: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
        """[..., heads, length, width / heads] -> [..., length, width], projected."""
        return _project(tf.reshape(_swap_heads(x), shape), self.out_weight, self.out_bias)


@serialisable
class MultiheadAttention(_Attention):
    """torch's MultiheadAttention of a sequence [batch, length, width] to itself."""

    qkv_names = ("in_proj_weight", "in_proj_bias")
    out_names = ("out_proj.weight", "out_proj.bias")

    @override
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Returns softmax(q k' / sqrt(width / heads)) v, projected; [batch, length, width] as the input."""
        q, k, v = self._split_heads(x, self.qkv_bias)
        scores = tf.matmul(q * q.shape[-1] ** -0.5, k, transpose_b=True)
        return self._merge_heads(tf.matmul(_softmax(scores), v), tf.shape(x))


@serialisable
class RelativePositionalAttention(_Attention):
    """MaxViT's RelativePositionalMultiHeadAttention, within each of the square windows [batch, windows, pixels, width].

    Args:
        side: side of a window in pixels.
    """

    qkv_names = ("to_qkv.weight", "to_qkv.bias")
    out_names = ("merge.weight", "merge.bias")

    def __init__(self, side: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.side = side

    @override
    def build(self, input_shape: Shape) -> None:
        """Make the projections and the table of biases."""
        super().build(input_shape)
        self.bias_table = self._weight("relative_position_bias_table", ((2 * self.side - 1) ** 2, self.heads))

    @override
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Returns softmax(q k' / sqrt(width) + bias) v, projected; of the input's shape."""
        q, k, v = self._split_heads(x, self.qkv_bias)
        scores = tf.matmul(q, k * x.shape[-1] ** -0.5, transpose_b=True)
        bias = _relative_position_bias(self.bias_table, (self.side, self.side))
        return self._merge_heads(tf.matmul(_softmax(scores + bias), v), tf.shape(x))

    @override
    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "side": self.side}


@serialisable
class ShiftedWindowAttention(_Attention):
    """Swin's attention within windows of an image batch [batch, height, width, channels].

    Args:
        window: (height, width) of a window in pixels.
        shift: (down, right) by how many pixels the windows are shifted.
    """

    def __init__(self, window: Sequence[int], shift: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.window = tuple(window)
        self.shift = tuple(shift)

    @override
    def build(self, input_shape: Shape) -> None:
        """Make the projections and the source of the position biases."""
        super().build(input_shape)
        self._build_position_bias()

    @override
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Cuts [batch, height, width, channels] into windows (padded, rolled), attends within each, rejoins them."""
        _, height, width, channels = x.shape
        rows, columns = self.window
        padded = (-(-height // rows) * rows, -(-width // columns) * columns)
        shift = tuple(0 if w >= p else s for w, p, s in zip(self.window, padded, self.shift, strict=True))
        grid = (padded[0] // rows, padded[1] // columns)

        image = tf.pad(x, [(0, 0), (0, padded[0] - height), (0, padded[1] - width), (0, 0)])
        image = tf.roll(image, (-shift[0], -shift[1]), axis=(1, 2)) if any(shift) else image
        windows = tf.reshape(image, (-1, grid[0], rows, grid[1], columns, channels))
        windows = tf.transpose(windows, (0, 1, 3, 2, 4, 5))
        windows = tf.reshape(windows, (-1, grid[0] * grid[1], rows * columns, channels))

        windows = self._attend(windows, _shift_mask(padded, self.window, shift) if any(shift) else None)

        image = tf.reshape(windows, (-1, *grid, rows, columns, channels))
        image = tf.reshape(tf.transpose(image, (0, 1, 3, 2, 4, 5)), (-1, *padded, channels))
        image = tf.roll(image, shift, axis=(1, 2)) if any(shift) else image
        return image[:, :height, :width]

    @override
    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "window": list(self.window), "shift": list(self.shift)}

    def _attend(self, x: tf.Tensor, mask: np.ndarray | None) -> tf.Tensor:
        """Attention within windows [batch, windows, pixels, channels]; `mask` is [windows, 1, pixels, pixels]."""
        q, k, v = self._split_heads(x, self._masked_qkv_bias())
        scores = self._scores(q, k) + self._position_bias()
        if mask is not None:
            scores += tf.cast(mask, scores.dtype)
        return self._merge_heads(tf.matmul(_softmax(scores), v), tf.shape(x))

    def _build_position_bias(self) -> None:
        sides = [2 * side - 1 for side in self.window]
        self.bias_table = self._weight("relative_position_bias_table", (sides[0] * sides[1], self.heads))

    def _position_bias(self) -> tf.Tensor:
        return _relative_position_bias(self.bias_table, self.window)

    def _masked_qkv_bias(self) -> tf.Tensor:
        return tf.convert_to_tensor(self.qkv_bias)

    def _scores(self, q: tf.Tensor, k: tf.Tensor) -> tf.Tensor:
        return tf.matmul(q * q.shape[-1] ** -0.5, k, transpose_b=True)


@serialisable
class ShiftedWindowAttentionV2(ShiftedWindowAttention):
    """Swin V2's attention within windows: scaled cosine scores, biases from a small network, keys without bias."""

    _HIDDEN = 512
    _MAX_LOG_SCALE = float(np.log(100.0))

    @override
    def _build_position_bias(self) -> None:
        sides = [2 * side - 1 for side in self.window]
        self.logit_scale = self._weight("logit_scale", (self.heads, 1, 1))
        self.coordinates = self._weight("relative_coords_table", (1, *sides, 2), trainable=False)
        self.hidden_weight, self.hidden_bias = self._linear(("cpb_mlp.0.weight", "cpb_mlp.0.bias"), self._HIDDEN, 2)
        self.bias_weight = self._weight("cpb_mlp.2.weight", (self.heads, self._HIDDEN))

    @override
    def _position_bias(self) -> tf.Tensor:
        hidden = tf.nn.relu(_project(tf.reshape(self.coordinates, (-1, 2)), self.hidden_weight, self.hidden_bias))
        table = tf.matmul(hidden, tf.convert_to_tensor(self.bias_weight), transpose_b=True)
        return 16.0 * tf.sigmoid(_relative_position_bias(table, self.window))

    @override
    def _masked_qkv_bias(self) -> tf.Tensor:
        q, _, v = tf.split(tf.convert_to_tensor(self.qkv_bias), 3)
        return tf.concat([q, tf.zeros_like(q), v], axis=0)

    @override
    def _scores(self, q: tf.Tensor, k: tf.Tensor) -> tf.Tensor:
        scale = tf.exp(tf.minimum(tf.convert_to_tensor(self.logit_scale), self._MAX_LOG_SCALE))
        return tf.matmul(_unit(q), _unit(k), transpose_b=True) * scale


@serialisable
class PatchMerging(keras.layers.Layer):
    """The rearrangement in Swin's PatchMerging: 2 by 2 pixels side by side in the channels; odd sides are padded."""

    @override
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Maps [batch, height, width, channels] to half the sides, four times the channels: down first, then right."""
        x = tf.pad(x, [(0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)])
        return tf.concat([x[:, down::2, right::2] for right in (0, 1) for down in (0, 1)], axis=-1)


def _project(x: tf.Tensor, weight: keras.Variable, bias: Any) -> tf.Tensor:
    """torch's Linear."""
    # As one matrix: the gradient of a broadcast product, einsum's too, is a weight matrix for each row of x.
    y = tf.matmul(tf.reshape(x, (-1, x.shape[-1])), tf.convert_to_tensor(weight), transpose_b=True)
    return tf.reshape(y + tf.convert_to_tensor(bias), tf.concat([tf.shape(x)[:-1], [y.shape[-1]]], axis=0))


def _swap_heads(x: tf.Tensor) -> tf.Tensor:
    """[..., a, b, width] -> [..., b, a, width]."""
    axes = list(range(x.shape.rank))
    axes[-3], axes[-2] = axes[-2], axes[-3]
    return tf.transpose(x, axes)


def _softmax(scores: tf.Tensor) -> tf.Tensor:
    """Over the last axis, of 16-bit scores in float32 as under torch's autocast."""
    return tf.cast(tf.nn.softmax(_widen(scores)), scores.dtype)


def _unit(x: tf.Tensor) -> tf.Tensor:
    """torch's normalize over the last axis, of 16-bit numbers in float32 as under torch's autocast."""
    return tf.cast(tf.math.l2_normalize(_widen(x), axis=-1, epsilon=1e-24), x.dtype)


def _widen(x: tf.Tensor) -> tf.Tensor:
    return tf.cast(x, "float32") if x.dtype.size < 4 else x


def _relative_position_bias(table: Any, window: tuple[int, ...]) -> tf.Tensor:
    """[heads, pixels, pixels]: for each pair of pixels of a window the row of the table of their relative position."""
    rows, columns = window
    position = np.indices(window).reshape(2, -1)
    offset = position[:, :, None] - position[:, None, :]
    # gather_nd, and not gather, whose gradient would be sparse.
    table = tf.reshape(tf.convert_to_tensor(table), (2 * rows - 1, 2 * columns - 1, -1))
    bias = tf.gather_nd(table, np.stack([offset[0] + rows - 1, offset[1] + columns - 1], axis=-1))
    return tf.transpose(bias, (2, 0, 1))


def _shift_mask(image: tuple[int, ...], window: tuple[int, ...], shift: tuple[int, ...]) -> np.ndarray:
    """[windows, 1, pixels, pixels]: `_MASKED` where rolling brought pixels together that are no neighbours."""
    region = np.zeros(image)
    cuts = [((0, -w), (-w, -s), (-s, None)) for w, s in zip(window, shift, strict=True)]
    for i, (top, bottom) in enumerate(cuts[0]):
        for j, (left, right) in enumerate(cuts[1]):
            region[top:bottom, left:right] = 3 * i + j
    grid = (image[0] // window[0], window[0], image[1] // window[1], window[1])
    region = region.reshape(grid).transpose(0, 2, 1, 3).reshape(-1, 1, window[0] * window[1])
    return np.where(region[:, :, None, :] == region[:, :, :, None], 0.0, _MASKED)
