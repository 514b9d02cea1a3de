"""A Keras network with its optimizer, on one rank of a MultiWorkerMirroredStrategy. Mirrors torch_learner.

A loop of its own, since Keras 3's `fit` does not work under that strategy (keras issue 20585). Each rank feeds its own
batches and is one replica; weights and slots are assigned in the replica, by sums that are equal on all ranks.
"""

import itertools
from collections.abc import Generator, Iterable
from functools import partial

# First: torchvision goes before tensorflow.
from scenerec.models import tf_model, torch_outline

import keras  # isort: skip
import tensorflow as tf
from typing_extensions import override

from scenerec.data.stream import Cursor
from scenerec.data.tf_input import Batch, training_input, validation_input
from scenerec.models.keras_twin.drop_draws import drop_keys
from scenerec.models.tf_geo import network_inputs
from scenerec.training.initial import initial_state
from scenerec.training.learner import TrainingJob
from scenerec.training.task import Counts
from scenerec.training.tf_mechanics import TfMechanics
from scenerec.training.tf_mixing import mixed_pixels, mixed_targets, mixed_weights
from scenerec.training.tf_task import tf_task
from scenerec.training.tf_teacher import TfTeacher, distillation_losses
from scenerec.world import World


def use_threads(threads: int) -> None:
    """Cores that this process may compute on, and one GPU, grown into as needed. Before the first learner is made."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    for gpu in tf.config.list_physical_devices("GPU")[:1]:
        tf.config.set_visible_devices([gpu], "GPU")
        tf.config.experimental.set_memory_growth(gpu, True)


class TfLearner(TfMechanics[Batch]):
    """A Keras classifier that learns, on one rank. TF_CONFIG, where the world has more of them, is already set."""

    def __init__(self, job: TrainingJob, world: World) -> None:
        config = job.config
        self.task = tf_task(job.task)

        def build() -> keras.Model:
            network, size, seed = config.model, config.data.training_size, config.optimize.seed
            model = tf_model.build(network.arch, job.plan.classes, size, seed, network.geo, network.drop_path)
            tf_model.load_state(model, initial_state(config, tf_model.state(model)))
            return model

        shapes = torch_outline.parameter_shapes(config.model.arch, job.plan.classes, config.model.geo)
        super().__init__(job, world, build, list(shapes))
        weights = list(job.plan.class_weights.values())
        of_classes = tf.constant(weights, self.dtype) if weights else None
        self.image_weights = None if job.task.weighs_labels else of_classes
        self.label_weights = of_classes if job.task.weighs_labels else None
        with self.strategy.scope():
            self.evaluated = self._at_evaluations_size()
            self.teacher = TfTeacher(job, self.dtype) if job.plan.teacher else None
        # With XLA what one rank computes by itself: sums over the ranks are none of its operations.
        self._compiled = tf.function(self._forward_backward, autograph=False, jit_compile=True, reduce_retracing=True)
        self._distributed_step = tf.function(self._run_step, autograph=False, reduce_retracing=True)
        self._local_counts = tf.function(self._count, autograph=False, reduce_retracing=True)

    def _at_evaluations_size(self) -> keras.Model:
        """The model by which images are answered outside of training, of the same weights."""
        config = self.job.config
        if config.data.training_size == config.data.image_size:
            return self.model
        arch, classes = config.model.arch, self.job.plan.classes
        return tf_model.at_size(self.model, arch, classes, config.data.image_size, config.model.geo)

    @override
    def training_batches(self, start: Cursor) -> Generator[Batch, None, None]:
        job = self.job
        threads, places, mix = job.plan.decode_processes, self.reads_coordinates, self.optimize.mix
        return training_input(job.train, job.config.data, job.order, self.world, start, threads, places, mix)

    @override
    def validation_batches(self) -> Iterable[Batch]:
        job = self.job
        size, threads = job.plan.batch_per_worker, job.plan.decode_processes
        return validation_input(job.val, job.config.data, self.world, size, threads, self.reads_coordinates)

    @override
    def train_step(self, batch: Batch, learning_rate: float) -> None:
        self.average_statistics = {}
        tensors = batch._replace(names=())  # other names would be another graph
        loss = self._distributed_step(tensors, tf.constant(learning_rate, self.dtype))
        self._loss_sum += tf.cast(loss, tf.float64)

    def _run_step(self, batch: Batch, learning_rate: tf.Tensor) -> tf.Tensor:
        return self.strategy.run(self._replica_step, args=(batch, learning_rate))

    def _replica_step(self, batch: Batch, learning_rate: tf.Tensor) -> tf.Tensor:
        compute = self._compiled if self.job.config.compute.compile else self._forward_backward
        first, *others = _pieces(batch, self.optimize.accumulate_steps)
        loss, gradients = compute(first)
        for piece in others:
            some_loss, some_gradients = compute(piece)
            loss += some_loss
            gradients = [total + gradient for total, gradient in zip(gradients, some_gradients, strict=True)]
        self._update(self._sum_of_gradients(gradients), learning_rate)
        return loss

    def _forward_backward(self, batch: Batch) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """This share's part of the mean loss over the global batch, and its gradients times the loss scale."""
        weights = [b.variable.value for b in self.parameters]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)  # nothing else: no gradient runs through what is frozen
            logits = self._logits(batch, training=True)
            losses = self._losses(logits, batch)
            if self.image_weights is not None:
                losses = losses * self._weights(self.image_weights, batch)
            loss = tf.reduce_sum(losses) / self.optimize.global_batch_size
            scaled = loss * self.loss_scale
        gradients = tape.gradient(scaled, weights)
        return loss, [tf.cast(gradient, self.dtype) for gradient in gradients]

    def _weights(self, weights: tf.Tensor, batch: Batch) -> tf.Tensor:
        """What the losses of the samples count [n], by the weights of the classes."""
        if batch.partners is None:
            return tf.gather(weights, batch.labels)
        return mixed_weights(weights, batch.labels, batch.partners)

    def _losses(self, logits: tf.Tensor, batch: Batch) -> tf.Tensor:
        """Losses of the samples [n]: by their labels, by the teacher, or by both."""
        distill = self.optimize.distill
        if distill is None or self.teacher is None:
            return self._label_losses(logits, batch)
        taught = self.teacher(self._shown(batch))
        losses = distill.weight * distillation_losses(logits, taught, distill.temperature)
        if distill.reads_labels:
            losses += (1 - distill.weight) * self._label_losses(logits, batch)
        return losses

    def _label_losses(self, logits: tf.Tensor, batch: Batch) -> tf.Tensor:
        """Losses of the samples [n] by their labels; of mixed images, by both."""
        targets = batch.labels
        if batch.partners is not None:
            targets = mixed_targets(targets, batch.partners, logits.shape[1], logits.dtype)
        return self.task.training_losses(logits, targets, self.optimize, self.label_weights)

    @override
    def evaluate(self, batches: Iterable[Batch]) -> Counts:
        self._share_running_statistics()
        counts = self.job.task.counts()
        with self._averaged_weights():
            for batch in batches:
                counted = self._local_counts(batch._replace(names=()))
                counts += counts.of_batch(len(batch.labels), [each.numpy() for each in counted])
        return counts.over_ranks(self.world, self.sum_over_ranks)

    def _count(self, batch: Batch) -> tuple[tf.Tensor, ...]:
        return self.task.count(self._logits(batch, training=False), batch.labels)

    @override
    def _see(self, batch: Batch) -> tf.Tensor:
        return self._logits(batch, training=False)

    def _logits(self, batch: Batch, training: bool) -> tf.Tensor:
        """The network's answers to a batch, [n, classes], in the weights' precision."""
        pixels = self._shown(batch)
        others = network_inputs(batch.coordinates, self.dtype)
        model = self.trained if training else self.evaluated
        with drop_keys(batch.drop_keys):
            return model([pixels, *others] if others else pixels, training=training)

    def _shown(self, batch: Batch) -> tf.Tensor:
        """What the network sees of the images."""
        pixels = self._pixels(batch.images, batch.colors)
        if batch.partners is None:
            return pixels
        theirs = self._pixels(batch.partners.images, batch.partners.colors)
        return mixed_pixels(pixels, theirs, batch.partners)


def _pieces(batch: Batch, pieces: int) -> list[Batch]:
    """What is computed at once: pieces of equal length within one."""
    if pieces == 1:
        return [batch]
    ends = [tf.shape(batch.labels)[0] * index // pieces for index in range(pieces + 1)]

    def piece(cut: slice, value: tf.Tensor | None) -> tf.Tensor | None:
        return None if value is None else value[cut]

    return [tf.nest.map_structure(partial(piece, slice(start, end)), batch) for start, end in itertools.pairwise(ends)]
