"""Keras layers of the twins that Keras has not, or has with other semantics than torch.

No torch here: a saved twin (`.keras`) loads wherever Keras and this module are. Weights are stored in torch's layout.
"""

import sys
import zlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from typing_extensions import override

from scenerec.models.keras_twin.drop_draws import DROP_KEYS, kept_elements, torch_places
from scenerec.models.keras_twin.repetition import COMPUTATION, repeats

# Keras walks a model's graph recursively, to build it and to load it; efficientnet_v2_l is deeper than Python's limit.
sys.setrecursionlimit(max(sys.getrecursionlimit(), 10_000))

serialisable = keras.saving.register_keras_serializable("scenerec")

Shape = Sequence[int | None]


def _replica_variable(name: str, shape: Shape, initializer: str, dtype: str) -> keras.Variable:
    """A variable of which each replica of a `tf.distribute` strategy has its own value.

    In `strategy.run` a replica reads and assigns its own copy. Outside, each process reads the copy of its
    first replica, without communication, and an assignment sets all copies of the process.
    """
    return keras.Variable(
        keras.initializers.get(initializer),
        shape=tuple(shape),
        dtype=dtype,
        trainable=False,
        autocast=False,
        aggregation="only_first_replica",
        synchronization="on_read",
        name=name,
    )


class TwinLayer(keras.layers.Layer):
    """A layer that names its weights as torch does, and keeps them in torch's layout."""

    def neutral_weights(self) -> dict[str, keras.Variable]:
        """The weights by their names in torch."""
        return {}

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Of the input's shape, unless a layer says otherwise: Keras would trace the layer to find that out."""
        return input_shape


@serialisable
class BatchNormalization(TwinLayer):
    """torch's BatchNorm2d over [batch, height, width, channels].

    TensorFlow's fused kernel estimates the running variance without bias (n / (n - 1)), as torch does and
    Keras's own layer does not; under mixed precision it reads 16-bit activations, and computes statistics in
    float32. It does not take float64, which is put together of elementary operations. In data-parallel
    training each replica normalises by, and keeps statistics of, its own batch, as under torch's
    DistributedDataParallel; with `synchronised`, which is set from outside, by the batches of all replicas.

    Args:
        momentum: weight of the new batch in the running statistics (torch's convention; Keras's is 1 -
            momentum).
        epsilon: added to the variance.
        affine: whether it has a scale and an offset.
    """

    def __init__(self, momentum: float = 0.1, epsilon: float = 1e-5, affine: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon
        self.affine = affine
        self.synchronised = False
        self.measures = False
        self.measured: tuple[tf.Tensor, tf.Tensor] | None = None

    @override
    def build(self, input_shape: Shape) -> None:
        """Makes the weights, each [channels]."""
        shape = (input_shape[-1],)
        self.gamma, self.beta = tf.ones(shape, self.variable_dtype), tf.zeros(shape, self.variable_dtype)
        if self.affine:
            self.gamma = self.add_weight(name="gamma", shape=shape, initializer="ones", autocast=False)
            self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros", autocast=False)
        self.moving_mean = _replica_variable("moving_mean", shape, "zeros", self.variable_dtype)
        self.moving_variance = _replica_variable("moving_variance", shape, "ones", self.variable_dtype)

    @override
    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Normalises by the batch's statistics when training and trainable, else by the running ones.

        With `measures`, by the batch's; its mean and biased variance are then `measured`, and the running ones stay.
        """
        if self.measures:
            y, mean, unbiased = self._normalise(x, [], [], training=True)[:3]
            self.measured = mean, unbiased * (1 - 1 / tf.cast(tf.size(x) / x.shape[-1], unbiased.dtype))
            return y
        if not (training and self.trainable):
            return self._normalise(x, self.moving_mean, self.moving_variance, training=False)[0]
        y, mean, variance = self._normalise_jointly(x) if self.synchronised else self._normalise(x, [], [], True)[:3]
        self._update(self.moving_mean, mean)
        self._update(self.moving_variance, variance)
        return y

    def _normalise(self, x: tf.Tensor, mean: Any, variance: Any, training: bool) -> Any:
        if x.dtype == tf.float64:
            return self._normalise_float64(x, mean, variance, training)
        return tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=tf.convert_to_tensor(mean, dtype="float32"),
            variance=tf.convert_to_tensor(variance, dtype="float32"),
            epsilon=self.epsilon,
            is_training=training,
        )

    def _normalise_jointly(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """By the statistics of all replicas' batches, which are of one size, with gradients through them."""
        context = tf.distribute.get_replica_context()
        wide = tf.cast(x, self.variable_dtype)
        mine = tf.stack(tf.nn.moments(wide, (0, 1, 2)))
        places = tf.one_hot(context.replica_id_in_sync_group, context.num_replicas_in_sync, dtype=wide.dtype)
        moments = context.all_reduce(tf.distribute.ReduceOp.SUM, places[:, None, None] * mine)
        mean = tf.reduce_mean(moments[:, 0], axis=0)
        variance = tf.reduce_mean(moments[:, 1] + tf.square(moments[:, 0] - mean), axis=0)
        gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        y = tf.nn.batch_normalization(wide, mean, variance, beta, gamma, self.epsilon)
        count = tf.cast(tf.size(x) / x.shape[-1] * context.num_replicas_in_sync, wide.dtype)
        return tf.cast(y, x.dtype), mean, variance * count / (count - 1)

    def _normalise_float64(self, x: tf.Tensor, mean: Any, variance: Any, training: bool) -> Any:
        unbiased = variance = tf.convert_to_tensor(variance, dtype="float64")
        if training:
            mean, variance = tf.nn.moments(x, (0, 1, 2))
            count = tf.cast(tf.size(x) / tf.shape(x)[-1], x.dtype)
            unbiased = variance * count / (count - 1)
        gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        y = tf.nn.batch_normalization(x, tf.convert_to_tensor(mean), variance, beta, gamma, self.epsilon)
        return y, mean, unbiased

    def _update(self, running: keras.Variable, batch: tf.Tensor) -> None:
        if repeats():
            return
        running.assign((1.0 - self.momentum) * running + self.momentum * tf.stop_gradient(batch))

    @override
    def neutral_weights(self) -> dict[str, keras.Variable]:
        scale = {f"{self.name}.weight": self.gamma, f"{self.name}.bias": self.beta} if self.affine else {}
        return {
            **scale,
            f"{self.name}.running_mean": self.moving_mean,
            f"{self.name}.running_var": self.moving_variance,
        }

    @override
    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon, "affine": self.affine}


@serialisable
class Dropout(TwinLayer):
    """torch's Dropout; with `rows`, torchvision's StochasticDepth in mode "row": whole samples are dropped.

    Within `drop_keys` it draws by sample, as torch_dropout does. Elsewhere its random numbers are a function of (seed,
    calls so far, layer's name, replica) alone, so that a resumed run can draw what the uninterrupted one would have
    drawn: see `restart`.

    `order[p]` is the torch axis that is stored at position p; without it they are stored as in torch.
    """

    def __init__(self, rate: float, rows: bool = False, order: Sequence[int] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.rows = rows
        self.order = tuple(order)

    @override
    def build(self, input_shape: Shape) -> None:
        """Makes the state of the random numbers: [seed, calls so far]."""
        self.random_state = _replica_variable("random_state", (2,), "zeros", "int64")

    def restart(self, seed: int, calls: int = 0) -> None:
        """Continues with the numbers that follow the first `calls` draws of `seed`, in [0, 2**31)."""
        self.random_state.assign([seed, calls])

    @override
    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Drops, and scales what is kept by 1 / (1 - rate), when training."""
        if not training or self.rate == 0.0:
            return x
        if self.rate == 1.0:
            return tf.zeros_like(x)
        if (keys := DROP_KEYS.get()) is not None:
            return tf.where(self._kept(x, keys), x * (1 / (1 - self.rate)), tf.zeros((), x.dtype))
        computation = COMPUTATION.get()
        keys = computation.drawn(self.name, self._draw) if computation else self._draw()
        return tf.nn.experimental.stateless_dropout(x, self.rate, seed=keys, noise_shape=self._noise_shape(x))

    def _draw(self) -> tf.Tensor:
        """What this call draws from, int64 [2]; the next draws from something else."""
        seed, calls = tf.unstack(tf.convert_to_tensor(self.random_state))
        self.random_state.assign(tf.stack([seed, calls + 1]))
        # 63 bits each: a seed below the replica, and the number of the call below the layer.
        return tf.stack([seed + _shifted_replica_id(31), calls + (zlib.crc32(self.name.encode()) << 31)])

    def _kept(self, x: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        shape = [1] * (x.shape.rank - 1) if self.rows else x.shape[1:].as_list()
        places = torch_places(shape, self.order or range(x.shape.rank))
        return tf.reshape(kept_elements(keys, self.name, places, self.rate), [-1, *shape])

    def _noise_shape(self, x: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(x)
        return tf.concat([shape[:1], tf.ones_like(shape[1:])], axis=0) if self.rows else shape

    @override
    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "rows": self.rows, "order": self.order}


def _shifted_replica_id(bits: int) -> tf.Tensor:
    """The number of this replica among all of the strategy (0 without one), `bits` to the left, as int64."""
    context = tf.distribute.get_replica_context()
    replica = context.replica_id_in_sync_group if context is not None else 0
    return tf.cast(replica, "int64") * 2**bits


@serialisable
class ExpandBatch(keras.layers.Layer):
    """A parameter [1, ...] repeated for each sample of a batch: `layer(parameter, batch)`."""

    @override
    def call(self, parameter: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
        """Returns the parameter once for each sample: [batch, ...]."""
        return tf.repeat(parameter, tf.shape(batch)[0], axis=0)

    @override
    def compute_output_shape(self, parameter_shape: Shape, batch_shape: Shape) -> Shape:
        return (batch_shape[0], *parameter_shape[1:])


@serialisable
class AdaptiveAveragePooling2D(keras.layers.Layer):
    """torch's AdaptiveAvgPool2d over [batch, height, width, channels], for any ratio of sizes.

    Args:
        output_size: (height, width) in pixels.
    """

    def __init__(self, output_size: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.output_size = tuple(output_size)

    @override
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Averages over the rows of each window, then over its columns."""
        rows, columns = (
            tf.constant(_window_means(pixels, windows), self.compute_dtype)
            for pixels, windows in zip(x.shape[1:3], self.output_size, strict=True)
        )
        return tf.einsum("bhqc,ph->bpqc", tf.einsum("bhwc,qw->bhqc", x, columns), rows)

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], *self.output_size, input_shape[3])

    @override
    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "output_size": list(self.output_size)}


def _window_means(pixels: int, windows: int) -> np.ndarray:
    """The matrix [windows, pixels] of means; window i is [i, i + 1) * pixels / windows, rounded outwards."""
    start = np.arange(windows) * pixels // windows
    end = -(-np.arange(1, windows + 1) * pixels // windows)
    position = np.arange(pixels)
    inside = (position >= start[:, None]) & (position < end[:, None])
    return inside / inside.sum(axis=1, keepdims=True)


@serialisable
class Parameter(TwinLayer):
    """torch's bare nn.Parameter, which belongs to no layer; this layer's name is the parameter's torch name.

    It is called on the model's input, which it ignores: a functional model reaches layers through its input
    only.
    """

    def __init__(self, shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shape = tuple(shape)

    @override
    def build(self, input_shape: Shape) -> None:
        """Makes the parameter."""
        self.value = self.add_weight(name="value", shape=self.shape, initializer="zeros")

    @override
    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the parameter, in the compute dtype."""
        return ops.convert_to_tensor(self.value)

    @override
    def neutral_weights(self) -> dict[str, keras.Variable]:
        return {self.name: self.value}

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self.shape

    @override
    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "shape": list(self.shape)}
