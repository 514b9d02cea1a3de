"""A Keras network with its optimizer, on one rank of a MultiWorkerMirroredStrategy. Mirrors torch_learner.

A loop of its own, since Keras 3's `fit` does not work under that strategy (keras issue 20585). Each rank feeds its own
batches and is one replica; weights and slots are assigned in the replica, by sums that are equal on all ranks.
"""

import itertools
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager

# First: torchvision goes before tensorflow.
from scenerec.models import tf_batchnorm, tf_freezing, tf_model, torch_outline

import keras  # isort: skip
import numpy as np
import tensorflow as tf
from typing_extensions import override

from scenerec.checkpoint import LearnerState, Tensors
from scenerec.data.stream import Cursor
from scenerec.data.tf_input import Batch, normalize, statistics_input, training_input, validation_input
from scenerec.models.blocks import lr_factors
from scenerec.models.freezing import frozen_names
from scenerec.models.tf_geo import network_inputs
from scenerec.models.tf_model import Binding
from scenerec.training.batchnorm import PreciseBatchNorm, population
from scenerec.training.initial import initial_state
from scenerec.training.learner import (
    FP16_BACKOFF_FACTOR,
    FP16_FIRST_LOSS_SCALE,
    FP16_GROWTH_FACTOR,
    FP16_GROWTH_INTERVAL,
    Learner,
    TrainingJob,
)
from scenerec.training.task import Counts
from scenerec.training.tf_optimizers import Optimizer, clip_by_global_norm
from scenerec.training.tf_task import tf_task
from scenerec.world import World

# In packs, which overlap, rather than in one piece: a tenth more images/s with two CPU workers and ResNet-18.
_ALL_REDUCE = tf.distribute.experimental.CommunicationOptions(bytes_per_pack=8 << 20)

_POLICY = {"fp32": "float32", "bf16": "mixed_bfloat16", "fp16": "mixed_float16", "fp64": "float64"}


def use_threads(threads: int) -> None:
    """Cores that this process may compute on, and one GPU, grown into as needed. Before the first learner is made."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    for gpu in tf.config.list_physical_devices("GPU")[:1]:
        tf.config.set_visible_devices([gpu], "GPU")
        tf.config.experimental.set_memory_growth(gpu, True)


class TfLearner(Learner[Batch]):
    """A Keras network with its optimizer, on one rank. TF_CONFIG, where the world has more of them, is already set."""

    def __init__(self, job: TrainingJob, world: World) -> None:
        config = job.config
        self.job, self.world, self.optimize = job, world, config.optimize
        self.task = tf_task(job.task)
        self.strategy = tf.distribute.MultiWorkerMirroredStrategy() if world.size > 1 else tf.distribute.get_strategy()
        geo = config.model.geo
        self.reads_coordinates = geo is not None
        names = list(torch_outline.parameter_shapes(config.model.arch, job.plan.classes, geo))
        keras.config.set_dtype_policy(_POLICY[self.optimize.precision])
        self.dtype = tf.float64 if self.optimize.precision == "fp64" else tf.float32
        with self.strategy.scope():
            size, seed = config.data.image_size, self.optimize.seed
            self.model = tf_model.build(config.model.arch, job.plan.classes, size, seed, geo)
            tf_model.load_state(self.model, initial_state(config, tf_model.state(self.model)))
            tf_freezing.freeze(self.model, frozen_names(config.model.arch, config.model.freeze, names))
            bindings = tf_model.bindings(self.model)
            self.parameters = [b for b in bindings if b.trainable]
            self.running_statistics = [b for b in bindings if b.key not in names]
            factors = lr_factors(config.model.arch, names, self.optimize.layer_decay)
            self.optimizer = Optimizer(self.optimize, self.parameters, factors)
            self.loss_scale = tf.Variable(
                FP16_FIRST_LOSS_SCALE if self.optimize.precision == "fp16" else 1.0, trainable=False, dtype=self.dtype
            )
            self.good_steps = tf.Variable(0, dtype=tf.int64, trainable=False)
            self.average = (
                [tf.Variable(b.variable.numpy(), trainable=False) for b in self.parameters]
                if self.optimize.ema_decay
                else []
            )
        self.average_statistics: Tensors = {}  # of the averages as they are since the last step
        weights = list(job.plan.class_weights.values())
        self.class_weights = tf.constant(weights, self.dtype) if weights else None
        self.normalised = tf_batchnorm.trained_layers(self.model)
        self.sample_batches: list[Batch] | None = None
        self._distributed_step = tf.function(self._run_step, reduce_retracing=True)
        self._local_counts = tf.function(self._count, reduce_retracing=True)
        self._local_moments = tf.function(self._measure, reduce_retracing=True)
        self._reduce = tf.function(self._run_reduce)
        self._loss_sum = tf.zeros((), tf.float64)

    @override
    def training_batches(self, start: Cursor) -> Generator[Batch, None, None]:
        job = self.job
        steps = start.epoch * job.plan.steps_per_epoch + start.step
        # Dropout by (seed, step, rank) alone: a resumed run draws what it would have drawn.
        tf_model.restart_dropout(self.model, self.optimize.seed, steps * self.optimize.accumulate_steps)
        threads = job.plan.decode_processes
        return training_input(
            job.train, job.config.data, job.order, self.world, start, threads, coordinates=self.reads_coordinates
        )

    @override
    def validation_batches(self) -> Iterable[Batch]:
        job = self.job
        size, threads = job.plan.batch_per_worker, job.plan.decode_processes
        return validation_input(job.val, job.config.data, self.world, size, threads, coordinates=self.reads_coordinates)

    @override
    def train_step(self, batch: Batch, learning_rate: float) -> None:
        self.average_statistics = {}
        tensors = batch._replace(names=())  # other names would be another graph
        loss = self._distributed_step(tensors, tf.constant(learning_rate, self.dtype))
        self._loss_sum += tf.cast(loss, tf.float64)

    def _run_step(self, batch: Batch, learning_rate: tf.Tensor) -> tf.Tensor:
        return self.strategy.run(self._replica_step, args=(batch, learning_rate))

    def _replica_step(self, batch: Batch, learning_rate: tf.Tensor) -> tf.Tensor:
        loss = tf.zeros((), self.dtype)
        gradients = [tf.zeros(b.variable.shape, self.dtype) for b in self.parameters]
        for piece in _pieces(batch, self.optimize.accumulate_steps):
            some_loss, some_gradients = self._forward_backward(piece)
            loss += some_loss
            gradients = [total + gradient for total, gradient in zip(gradients, some_gradients, strict=True)]
        gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients, _ALL_REDUCE)
        self._update(gradients, learning_rate)
        return loss

    def _forward_backward(self, batch: Batch) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """This share's part of the mean loss over the global batch, and its gradients times the loss scale."""
        weights = [b.variable.value for b in self.parameters]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)  # nothing else: no gradient runs through what is frozen
            logits = self._logits(batch, training=True)
            losses = self.task.training_losses(logits, batch.labels, self.optimize)
            if self.class_weights is not None:
                losses = losses * tf.gather(self.class_weights, batch.labels)
            loss = tf.reduce_sum(losses) / self.optimize.global_batch_size
            scaled = loss * self.loss_scale
        gradients = tape.gradient(scaled, weights)
        return loss, [tf.cast(gradient, self.dtype) for gradient in gradients]

    def _update(self, gradients: list[tf.Tensor], learning_rate: tf.Tensor) -> None:
        if self.optimize.precision != "fp16":
            self._apply(gradients, learning_rate)
            return
        gradients = [gradient / self.loss_scale for gradient in gradients]
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients])
        tf.cond(finite, lambda: self._apply(gradients, learning_rate), lambda: None)
        self._rescale(finite)

    def _apply(self, gradients: list[tf.Tensor], learning_rate: tf.Tensor) -> None:
        if self.optimize.clip_grad_norm:
            gradients = clip_by_global_norm(gradients, self.optimize.clip_grad_norm)
        self.optimizer.update(gradients, learning_rate)
        for binding, average in zip(self.parameters, self.average, strict=False):
            average.assign_add((1 - self.optimize.ema_decay) * (binding.variable.value - average))

    def _rescale(self, finite: tf.Tensor) -> None:
        """torch.amp.GradScaler's rule: back off at once, grow after an interval without overflow."""
        good_steps = tf.where(finite, self.good_steps + 1, 0)
        grow = good_steps == FP16_GROWTH_INTERVAL
        factor = tf.where(finite, tf.where(grow, FP16_GROWTH_FACTOR, 1.0), FP16_BACKOFF_FACTOR)
        self.loss_scale.assign(self.loss_scale * factor)
        self.good_steps.assign(tf.where(grow, tf.zeros_like(good_steps), good_steps))

    @override
    def take_loss(self) -> float:
        total = self.sum_over_ranks(self._loss_sum.numpy().reshape(1))[0]
        self._loss_sum = tf.zeros((), tf.float64)
        return float(total)

    @override
    def estimate_statistics(self, sample: PreciseBatchNorm) -> None:
        if not self.normalised:
            return
        if self.sample_batches is None:
            self.sample_batches = list(self._sample_batches(sample))
        if self.average:
            with self._averaged_weights():
                self._estimate(sample.batches, self.sample_batches)
                self.average_statistics = tf_batchnorm.statistics(self.normalised)
        self._estimate(sample.batches, self.sample_batches)

    def _sample_batches(self, sample: PreciseBatchNorm) -> Iterable[Batch]:
        job, world, threads = self.job, self.world, self.job.plan.decode_processes
        seed, size, count = self.optimize.seed, sample.batch_size, sample.batches
        return statistics_input(
            job.train, job.config.data, seed, size, count, world, threads, coordinates=self.reads_coordinates
        )

    def _estimate(self, count: int, mine: Sequence[Batch]) -> None:
        """Of `count` batches this rank measures `mine`; all ranks then take the same numbers together."""
        moments = np.zeros((count, 2, sum(layer.moving_mean.shape[0] for layer in self.normalised)))
        for index, batch in zip(range(self.world.rank, count, self.world.size), mine, strict=True):
            moments[index] = self._local_moments(batch._replace(names=())).numpy()
        tf_batchnorm.set_statistics(self.normalised, population(self.sum_over_ranks(moments)))

    def _measure(self, batch: Batch) -> tf.Tensor:
        return tf_batchnorm.measure(self.normalised, lambda: self._logits(batch, training=False))

    def _logits(self, batch: Batch, training: bool) -> tf.Tensor:
        """The network's answers to a batch, [n, classes], in the weights' precision."""
        pixels = normalize(batch.images, self.dtype, batch.colors)
        others = network_inputs(batch.coordinates, self.dtype)
        return self.model([pixels, *others] if others else pixels, training=training)

    @override
    def evaluate(self, batches: Iterable[Batch]) -> Counts:
        self._share_running_statistics()
        counts = self.job.task.counts()
        with self._averaged_weights():
            for batch in batches:
                counted = self._local_counts(batch._replace(names=()))
                counts += self.job.task.counts(len(batch.labels), *map(float, counted))
        return counts.from_array(self.sum_over_ranks(counts.as_array()))

    def _count(self, batch: Batch) -> tuple[tf.Tensor, ...]:
        return self.task.count(self._logits(batch, training=False), batch.labels)

    @override
    def state(self) -> LearnerState:
        self._share_running_statistics()
        return LearnerState(
            model=tf_model.state(self.model),
            optimizer=self.optimizer.state(),
            ema={b.key: np.asarray(b.to_neutral(average), np.float32) for b, average in self._averages()},
            updates=int(self.optimizer.updates.numpy()),
            loss_scale=float(self.loss_scale.numpy()),
            good_steps=int(self.good_steps.numpy()),
        )

    @override
    def load_state(self, state: LearnerState) -> None:
        tf_model.load_state(self.model, state.model)
        self.optimizer.load_state(state.optimizer, state.updates)
        for binding, average in zip(self.parameters, self.average, strict=False):
            average.assign(binding.to_keras(state.ema[binding.key]))
        statistics = [b.key for b in self.running_statistics]
        self.average_statistics = {key: array for key, array in state.ema.items() if key in statistics}
        if self.optimize.precision == "fp16":
            self.loss_scale.assign(state.loss_scale)
            self.good_steps.assign(state.good_steps)

    @override
    def agree(self, value: int) -> int:
        return round(float(self.sum_over_ranks(np.array([value if self.world.is_chief else 0], dtype=np.float64))[0]))

    @contextmanager
    def _averaged_weights(self) -> Iterator[None]:
        """The averages and their statistics in the model's place, where they are kept."""
        trained = [(binding, binding.variable.numpy()) for binding, _ in self._averages()]
        for binding, average in self._averages():
            binding.variable.assign(average)
        try:
            yield
        finally:
            for binding, array in trained:
                binding.variable.assign(array)

    def _averages(self) -> Iterator[tuple[Binding, np.ndarray]]:
        """What is averaged with its average, in Keras's layout; with BatchNorm's statistics where they are known."""
        for binding, average in zip(self.parameters, self.average, strict=False):
            yield binding, average.numpy()
        for binding in self.running_statistics:
            if binding.key in self.average_statistics:
                yield binding, self.average_statistics[binding.key]

    def _share_running_statistics(self) -> None:
        """Rank 0's on all ranks: what torch's DistributedDataParallel does."""
        if self.world.size == 1 or not self.running_statistics:
            return
        mine = [b.variable.numpy() for b in self.running_statistics]
        flat = np.concatenate([array.ravel() for array in mine])
        shared = self.sum_over_ranks(flat if self.world.is_chief else np.zeros_like(flat))
        ends = np.cumsum([array.size for array in mine])[:-1]
        for binding, values in zip(self.running_statistics, np.split(shared, ends), strict=True):
            binding.variable.assign(values.reshape(binding.variable.shape))

    @override
    def sum_over_ranks(self, values: np.ndarray) -> np.ndarray:
        return self._reduce(tf.constant(values)).numpy() if self.world.size > 1 else values

    def _run_reduce(self, values: tf.Tensor) -> tf.Tensor:
        def reduce(value: tf.Tensor) -> tf.Tensor:
            # The identity is placed on the replica's device, which all_reduce needs; a function's argument has none.
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(value))

        return self.strategy.run(reduce, args=(values,))


def _pieces(batch: Batch, pieces: int) -> list[Batch]:
    """What is computed at once: pieces of equal length within one."""
    if pieces == 1:
        return [batch]
    ends = [tf.shape(batch.labels)[0] * index // pieces for index in range(pieces + 1)]
    cuts = [slice(start, end) for start, end in itertools.pairwise(ends)]
    images, labels, colors, coordinates = batch.images, batch.labels, batch.colors, batch.coordinates
    return [
        Batch(
            images[cut],
            labels[cut],
            None if colors is None else colors[cut],
            coordinates=None if coordinates is None else coordinates[cut],
        )
        for cut in cuts
    ]
