"""Keras networks that answer. torch_predictor is the counterpart in torch."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from scenerec.models import tf_encoder, tf_model  # first: torchvision goes before tensorflow

import keras  # isort: skip
import numpy as np
import tensorflow as tf
from typing_extensions import override

from scenerec.errors import ModelError, first_line
from scenerec.inference.predictors.predictor import NetworkInfo, Predictor, place_inputs
from scenerec.inference.predictors.trained_model import ZooNetwork


class TfPredictor(Predictor):
    """A Keras network, or a SavedModel's signature, that answers; on a GPU where TensorFlow has one.

    Args:
        network: normalised float32 [n, image_size, image_size, 3] -> logits [n, classes].
        info: what is known of it.
        takes_coordinates: whether it takes coordinates [n, 3] and known [n, 2] as well.
    """

    def __init__(self, network: Callable[..., tf.Tensor], info: NetworkInfo, takes_coordinates: bool = False) -> None:
        preprocessing = info.preprocessing
        self.takes_coordinates = takes_coordinates
        self.name, self.labels, self.task = info.name, info.labels, info.task
        self.image_size, self.eval_crop_ratio = preprocessing.image_size, preprocessing.eval_crop_ratio
        self.interpolation = preprocessing.interpolation
        mean, std = (tf.constant(values, tf.float32) * 255 for values in (preprocessing.mean, preprocessing.std))

        places = [tf.TensorSpec((None, columns), tf.float32) for columns in (3, 2) if takes_coordinates]

        @tf.function(input_signature=[tf.TensorSpec((None, self.image_size, self.image_size, 3), tf.uint8), *places])
        def logits(images: tf.Tensor, *others: tf.Tensor) -> tf.Tensor:
            return tf.cast(network((tf.cast(images, tf.float32) - mean) / std, *others), tf.float32)

        self._logits = logits

    @override
    def logits(self, images: np.ndarray, coordinates: np.ndarray | None = None) -> np.ndarray:
        others = place_inputs(coordinates, len(images)) if self.takes_coordinates else ()
        return self._logits(np.ascontiguousarray(images), *others).numpy()


def load(network: ZooNetwork, info: NetworkInfo, threads: int = 0) -> TfPredictor:
    """Builds a network of the zoo in TensorFlow; `threads` of this process compute (0: as many as TensorFlow chooses).

    Raises StateError where the weights do not fit the architecture.
    """
    _use_threads(threads)
    size = info.preprocessing.image_size
    if network.classes:
        built = tf_model.build(network.arch, network.classes, size, 0, network.geo)
    else:
        built = tf_encoder.build(network.arch, lambda features: {}, size, 0)  # of one output Keras makes no list
    tf_model.load_state(built, network.state)

    def answer(images: tf.Tensor, *others: tf.Tensor) -> tf.Tensor:
        return built([images, *others] if others else images, training=False)

    return TfPredictor(answer, info, takes_coordinates=network.geo is not None)


def load_keras(path: Path, info: NetworkInfo) -> TfPredictor:
    """Opens a `.keras` file, or a SavedModel's signature `serving_default`, that need not be of the zoo.

    A `.keras` file is read in Keras's safe mode: code in it is refused. Raises ModelError where it does not load.
    """
    try:
        network = _signature(path) if path.is_dir() else _keras_file(path)
    except Exception as error:  # damaged or foreign content can break the reader anywhere
        raise ModelError(f"{path}: cannot be read by Keras: {first_line(error)}") from None
    return TfPredictor(network, info)


def _use_threads(threads: int) -> None:
    if not threads:
        return
    with suppress(RuntimeError):  # a process that has computed keeps the threads that it began with
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)


def _keras_file(path: Path) -> Callable[[tf.Tensor], tf.Tensor]:
    model = keras.models.load_model(path, compile=False)
    return lambda images: model(images, training=False)


def _signature(path: Path) -> Callable[[tf.Tensor], tf.Tensor]:
    loaded = tf.saved_model.load(str(path))
    (argument,) = loaded.signatures["serving_default"].structured_input_signature[1]

    def serve(images: tf.Tensor) -> tf.Tensor:  # holds `loaded`, without which the variables are gone
        return next(iter(loaded.signatures["serving_default"](**{argument: images}).values()))

    return serve
