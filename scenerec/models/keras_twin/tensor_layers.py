"""Layers of the twins without weights, each an operation of torch that Keras has not, or has not in layers.

No torch here: a saved twin (`.keras`) loads wherever Keras and this module are.
"""

import base64
import zlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from typing_extensions import override

from scenerec.models.keras_twin.layers import Shape, serialisable


def pack(array: np.ndarray) -> str:
    """The elements of an array of float32 or int32, little-endian, compressed by zlib, in base64."""
    kind = "<f4" if np.issubdtype(array.dtype, np.floating) else "<i4"
    return base64.b64encode(zlib.compress(np.ascontiguousarray(array, kind).tobytes())).decode()


def unpack(values: str, shape: Sequence[int], kind: str) -> np.ndarray:
    """The array of what `pack` gave; `kind` is <f4 or <i4."""
    return np.frombuffer(zlib.decompress(base64.b64decode(values)), kind).reshape(tuple(shape))


@serialisable
class Constant(keras.layers.Layer):
    """Numbers that are no weights. It is called as `Parameter` is.

    Args:
        shape: of the array.
        values: its elements by `pack`.
    """

    def __init__(self, shape: Sequence[int], values: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shape = tuple(shape)
        self.values = values
        self.array = unpack(values, shape, "<f4")

    @override
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the array, in the compute dtype."""
        return tf.constant(self.array, self.compute_dtype)

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self.shape

    @override
    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "shape": list(self.shape), "values": self.values}


@serialisable
class Index(keras.layers.Layer):
    """NumPy's basic indexing, `x[key]`.

    Args:
        key: for each axis an integer, which takes the axis away, or [start, stop, step].
    """

    def __init__(self, key: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.key = [part if isinstance(part, int) else list(part) for part in key]

    @override
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the part."""
        return x[tuple(part if isinstance(part, int) else slice(*part) for part in self.key)]

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = []
        for size, part in zip(input_shape, self.key, strict=True):
            if not isinstance(part, int):
                shape.append(None if size is None else len(range(*slice(*part).indices(size))))
        return tuple(shape)

    @override
    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "key": self.key}


@serialisable
class Convolution(keras.layers.Layer):
    """A convolution whose kernel is no weight of its own: `layer(x, kernel)`.

    Args:
        strides: (down, right).
        dilation_rate: (down, right).
    """

    def __init__(self, strides: Sequence[int], dilation_rate: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.strides, self.dilation_rate = tuple(strides), tuple(dilation_rate)

    @override
    def call(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """[batch, height, width, in], [height, width, in / groups, out] -> [batch, height, width, out]."""
        return keras.ops.conv(x, kernel, self.strides, "valid", dilation_rate=self.dilation_rate)

    @override
    def compute_output_shape(self, x_shape: Shape, kernel_shape: Shape) -> Shape:
        sides: Any = zip(x_shape[1:3], kernel_shape[:2], self.strides, self.dilation_rate, strict=True)
        lengths = [(pixels - gap * (size - 1) - 1) // step + 1 for pixels, size, step, gap in sides]
        return (x_shape[0], *lengths, kernel_shape[3])

    @override
    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "strides": list(self.strides), "dilation_rate": list(self.dilation_rate)}


@serialisable
class EuclideanNorm(keras.layers.Layer):
    """The length of vectors along axes, which stay with length 1; its gradient at length 0 is 0, as torch's.

    Args:
        axes: positions of the axes.
    """

    def __init__(self, axes: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axes = tuple(axes)

    @override
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the square root of the sum of squares."""
        squares = tf.reduce_sum(tf.square(x), axis=self.axes, keepdims=True)
        positive = squares > 0
        return tf.where(positive, tf.sqrt(tf.where(positive, squares, 1)), 0)

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(1 if axis in self.axes else size for axis, size in enumerate(input_shape))

    @override
    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axes": list(self.axes)}


@serialisable
class Gather(keras.layers.Layer):
    """Rows of a table [rows, ...] by their numbers.

    Args:
        shape: of the numbers.
        values: the numbers by `pack`.
    """

    def __init__(self, shape: Sequence[int], values: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shape = tuple(shape)
        self.values = values
        self.rows = unpack(values, shape, "<i4")

    @override
    def call(self, table: tf.Tensor) -> tf.Tensor:
        """Returns [*shape, ...]."""
        # The gradient of gather would be sparse, and so would that of gather_nd by a plain list of rows.
        return tf.gather_nd(table, self.rows[None, ..., None])[0]

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*self.shape, *input_shape[1:])

    @override
    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "shape": list(self.shape), "values": self.values}


@serialisable
class Windows(keras.layers.Layer):
    """Elements of an axis by their numbers, which may come again.

    Args:
        axis: its position.
        shape: of the numbers, (windows, elements).
        values: the numbers by `pack`.
    """

    def __init__(self, axis: int, shape: Sequence[int], values: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis, self.shape, self.values = axis, tuple(shape), values
        self.places = unpack(values, shape, "<i4")

    @override
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Returns windows and elements in the place of the axis."""
        return tf.gather(x, self.places, axis=self.axis)

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[: self.axis], *self.shape, *input_shape[self.axis + 1 :])

    @override
    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis, "shape": list(self.shape), "values": self.values}


@serialisable
class Softmax(keras.layers.Layer):
    """Softmax over an axis, of 16-bit numbers in float32 as under torch's autocast.

    Args:
        axis: its position.
    """

    def __init__(self, axis: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis

    @override
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the shares, of the input's shape."""
        return tf.cast(tf.nn.softmax(_widen(x), axis=self.axis), x.dtype)

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    @override
    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}


@serialisable
class ScaledDotProductAttention(keras.layers.Layer):
    """torch's scaled_dot_product_attention without dropout: `layer(q, k, v)` or `layer(q, k, v, bias)`.

    Args:
        scale: of the scores.
    """

    def __init__(self, scale: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale

    @override
    def call(self, q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, bias: tf.Tensor | None = None) -> tf.Tensor:
        """q [..., n, d], k [..., m, d], v [..., m, e], bias to add to the scores [..., n, m] -> [..., n, e]."""
        scores = tf.matmul(q * self.scale, k, transpose_b=True)
        if bias is not None:
            scores += bias
        return tf.matmul(tf.cast(tf.nn.softmax(_widen(scores)), scores.dtype), v)

    @override
    def compute_output_shape(
        self, q_shape: Shape, k_shape: Shape, v_shape: Shape, bias_shape: Shape | None = None
    ) -> Shape:
        return (*q_shape[:-1], v_shape[-1])

    @override
    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}


@serialisable
class Resample2D(keras.layers.Layer):
    """Interpolates [batch, height, width, channels] by two matrices, one for the rows and one for the columns.

    Args:
        rows: [new height, height] by `pack`.
        columns: [new width, width] by `pack`.
        size: (height, width).
        new_size: (new height, new width).
    """

    def __init__(self, rows: str, columns: str, size: Sequence[int], new_size: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rows, self.columns = rows, columns
        self.size, self.new_size = tuple(size), tuple(new_size)
        self.matrices = [
            unpack(values, shape, "<f4")
            for values, shape in zip((rows, columns), zip(self.new_size, self.size, strict=True), strict=True)
        ]

    @override
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Returns [batch, new height, new width, channels]."""
        rows, columns = (tf.constant(matrix, self.compute_dtype) for matrix in self.matrices)
        return tf.einsum("bhqc,ph->bpqc", tf.einsum("bhwc,qw->bhqc", x, columns), rows)

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], *self.new_size, input_shape[3])

    @override
    def get_config(self) -> dict[str, Any]:
        sizes = {"size": list(self.size), "new_size": list(self.new_size)}
        return {**super().get_config(), "rows": self.rows, "columns": self.columns, **sizes}


def _widen(x: tf.Tensor) -> tf.Tensor:
    return tf.cast(x, "float32") if x.dtype.size < 4 else x
