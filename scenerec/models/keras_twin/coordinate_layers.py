"""The layer of twins that encodes coordinates. No torch here."""

from math import pi
from typing import Any

import keras
import tensorflow as tf
from typing_extensions import override

from scenerec.models.geo import GeoSpec, encoding_tables
from scenerec.models.keras_twin.layers import Shape, serialisable


@serialisable
class CoordinateEncoding(keras.layers.Layer):
    """`scenerec.models.geo.encode`: `layer(coordinates, known)`, in the weights' precision also where others have less.

    Args:
        spec: a GeoSpec's fields.
    """

    def __init__(self, spec: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.spec = spec
        self.tables = encoding_tables(GeoSpec(**spec))

    @override
    def call(self, coordinates: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
        """Coordinates [n, 3] and known [n, 2] -> features [n, 2 k]."""
        frequencies = tf.cast(self.tables.frequencies, coordinates.dtype)
        turns = tf.gather(coordinates, self.tables.columns, axis=1) * frequencies
        angles = (turns - tf.round(turns)) * (2 * pi)
        mask = tf.gather(known, self.tables.masks, axis=1)
        return tf.concat([tf.sin(angles) * mask, tf.cos(angles) * mask], axis=1)

    @override
    def compute_output_shape(self, coordinates_shape: Shape, known_shape: Shape) -> Shape:
        return (coordinates_shape[0], self.tables.features)

    @override
    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "spec": self.spec}
