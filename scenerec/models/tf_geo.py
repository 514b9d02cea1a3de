"""What a Keras network takes beside images. Mirrors torch_geo, of whose modules the twin is traced."""

import tensorflow as tf


def network_inputs(coordinates: tf.Tensor | None, dtype: tf.DType) -> tuple[tf.Tensor, ...]:
    """What a network takes beside images: coordinates [n, 3] and known [n, 2]; nothing where there are none.

    Args:
        coordinates: float32 [n, 3], NaN where unknown; None for a network that takes none.
        dtype: of the network.
    """
    if coordinates is None:
        return ()
    known = ~tf.math.is_nan(coordinates)
    place, time = known[:, :1] & known[:, 1:2], known[:, 2:]
    values = tf.where(known, coordinates, tf.zeros_like(coordinates))
    return tf.cast(values, dtype), tf.cast(tf.concat([place, time], axis=1), dtype)
