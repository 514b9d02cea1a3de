"""Learning from a teacher in TensorFlow: its answers to the pixels that the network sees, and the loss.

Mirrors torch_teacher.
"""

from collections.abc import Callable

# First: torchvision goes before tensorflow.
from scenerec.models import tf_model

import tensorflow as tf  # isort: skip

from scenerec.data.resize_matrix import resize_matrix
from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.predictors.open_predictor import predictor_of
from scenerec.inference.predictors.trained_model import ZooNetwork
from scenerec.models.preprocessing import WeightPreprocessing
from scenerec.training.learner import TrainingJob
from scenerec.training.teacher import class_order, planned_teacher

Network = Callable[[tf.Tensor], tf.Tensor]
"""Normalised pixels [n, size, size, 3] -> logits [n, classes]."""


class TfTeacher:
    """The teacher of a job that has one: it takes the network's pixels, and gives logits for the network's classes.

    A network of the zoo computes where TensorFlow does, by Keras's dtype policy; a bundle on the CPU.

    Args:
        job: a plan with a teacher, and its data.
        dtype: of the pixels.
    """

    def __init__(self, job: TrainingJob, dtype: tf.DType) -> None:
        assert job.plan.teacher is not None
        teacher, size = planned_teacher(job.config, job.plan.teacher), job.config.data.training_size
        matrix, order = resize_matrix(size, teacher.image_size), class_order(teacher, job.classes)
        resizes, ours = teacher.image_size != size, job.config.data.preprocessing
        self._matrix = tf.constant(matrix, dtype) if resizes else None
        self._order = None if order is None else tf.constant(order)
        self._network: Network = (
            _bundle(teacher.network, job.config.scale.cpus_per_worker, ours)
            if isinstance(teacher.network, Bundle)
            else _renormalised(_zoo_network(teacher.network, teacher.image_size), teacher.preprocessing, ours)
        )

    def __call__(self, pixels: tf.Tensor) -> tf.Tensor:
        """Normalised pixels [n, image_size, image_size, 3] -> logits [n, classes], without a gradient."""
        logits = tf.stop_gradient(tf.cast(self._network(self._resized(pixels)), pixels.dtype))
        return logits if self._order is None else tf.gather(logits, self._order, axis=1)

    def _resized(self, pixels: tf.Tensor) -> tf.Tensor:
        """At the teacher's size, and in full precision, whatever the networks compute in."""
        if self._matrix is None:
            return pixels
        rows = tf.einsum("th,nhwc->ntwc", self._matrix, pixels)
        return tf.einsum("sw,ntwc->ntsc", self._matrix, rows)


def distillation_losses(logits: tf.Tensor, taught: tf.Tensor, temperature: float) -> tf.Tensor:
    """The square of the temperature times KL(teacher || network), [n], of both's softmax at this temperature.

    From logits [n, classes] of the network and of its teacher (Hinton, Vinyals and Dean 2015, section 2). The square
    keeps the gradients' size, whatever the temperature.
    """
    ours, theirs = (tf.nn.log_softmax(each / temperature) for each in (logits, taught))
    return temperature**2 * tf.reduce_sum(tf.exp(theirs) * (theirs - ours), axis=1)


def _zoo_network(network: ZooNetwork, image_size: int) -> Network:
    model = tf_model.build(network.arch, network.classes, image_size, seed=0)
    tf_model.load_state(model, network.state)
    model.trainable = False
    return lambda pixels: model(pixels, training=False)


def _renormalised(network: Network, own: WeightPreprocessing, given: WeightPreprocessing) -> Network:
    """The network, which takes pixels that are normalised as `given`, whatever its `own` weights expect."""
    terms = own.renormalization(given)
    if terms is None:
        return network

    def answer(pixels: tf.Tensor) -> tf.Tensor:
        factor, addend = (tf.constant(each, pixels.dtype) for each in terms)
        return network(pixels * factor + addend)

    return answer


def _bundle(bundle: Bundle, threads: int, given: WeightPreprocessing) -> Network:
    """A bundle takes whole levels: the pixels are rounded to them."""
    predictor = predictor_of(bundle, threads)

    def answer(pixels: tf.Tensor) -> tf.Tensor:
        mean, std = (tf.constant(each, pixels.dtype) for each in (given.mean_levels, given.std_levels))
        levels = tf.cast(tf.clip_by_value(tf.round(pixels * std + mean), 0, 255), tf.uint8)
        logits = tf.numpy_function(predictor.logits, [levels], tf.float32, stateful=False)
        return tf.ensure_shape(logits, (None, len(bundle.info.labels)))

    return answer
