"""What all learning in TensorFlow has in common, whatever is learned: precision, updates, statistics, sums over ranks.

Mirrors torch_mechanics.
"""

import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

# First: torchvision goes before tensorflow.
from scenerec.models import tf_batchnorm, tf_freezing, tf_model, tf_recompute

import keras  # isort: skip
import numpy as np
import tensorflow as tf
from typing_extensions import override

from scenerec.checkpoint import LearnerState, Tensors
from scenerec.config.compute import ComputeConfig
from scenerec.data.tf_input import Batch as Images
from scenerec.data.tf_input import normalize, statistics_input
from scenerec.models.blocks import block_paths, lr_factors
from scenerec.models.freezing import frozen_names
from scenerec.models.tf_model import Binding
from scenerec.training.batchnorm import PreciseBatchNorm, population
from scenerec.training.learner import (
    FP16_BACKOFF_FACTOR,
    FP16_FIRST_LOSS_SCALE,
    FP16_GROWTH_FACTOR,
    FP16_GROWTH_INTERVAL,
    Batch,
    Learner,
    TrainingJob,
)
from scenerec.training.tf_optimizers import Optimizer, clip_by_global_norm
from scenerec.training.tf_ranks import strategy_of_ranks
from scenerec.world import World

# In packs, which overlap, rather than in one piece: a tenth more images/s with two CPU workers and ResNet-18.
_ALL_REDUCE = tf.distribute.experimental.CommunicationOptions(bytes_per_pack=8 << 20)

_POLICY = {"fp32": "float32", "bf16": "mixed_bfloat16", "fp16": "mixed_float16", "fp64": "float64"}


Network = Callable[..., Any]
"""Called as a Keras model is: inputs, `training` -> outputs."""


def use_kernels(config: ComputeConfig) -> None:
    """Which kernels GPUs compute by, in this process: TensorFloat-32 or float32, and how cuDNN chooses.

    TensorFlow asks for the second when the first convolution is computed.
    """
    tf.config.experimental.enable_tensor_float_32_execution(config.tf32)
    os.environ["TF_CUDNN_USE_AUTOTUNE"] = str(int(config.cudnn_benchmark))


class TfMechanics(Learner[Batch]):
    """A Keras network with its optimizer, on one rank. TF_CONFIG, where the world has more of them, is already set."""

    def __init__(
        self, job: TrainingJob, world: World, build: Callable[[], keras.Model], names: Sequence[str] = ()
    ) -> None:
        """Takes what makes a model with its first weights.

        `names` are those of its parameters in torch's order, needed where a learning rate decays by layers.
        """
        config = job.config
        self.job, self.world, self.optimize = job, world, config.optimize
        self.reads_coordinates = config.model.geo is not None
        self.strategy = strategy_of_ranks(world.size) if world.size > 1 else tf.distribute.get_strategy()
        use_kernels(config.compute)
        keras.config.set_dtype_policy(_POLICY[self.optimize.precision])
        self.dtype = tf.float64 if self.optimize.precision == "fp64" else tf.float32
        with self.strategy.scope():
            self.model = build()
            names = names or [b.key for b in tf_model.bindings(self.model) if b.trainable]
            tf_freezing.freeze(self.model, frozen_names(config.model.arch, config.model.freeze, names))
            bindings = tf_model.bindings(self.model)
            self.parameters = [b for b in bindings if b.trainable]
            self.running_statistics = [b for b in bindings if b.key not in names]
            self.trained: Network = self.model
            if config.compute.recompute_activations:
                self.trained = tf_recompute.Recomputing(self.model, block_paths(config.model.arch, names))
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
        self.normalised = tf_batchnorm.trained_layers(self.model)
        self.sample_batches: list[Images] | None = None
        self._local_moments = tf.function(self._measure, autograph=False, reduce_retracing=True)
        self._reduce = tf.function(self._run_reduce, autograph=False)
        self._loss_sum = tf.zeros((), tf.float64)

    def _pixels(self, images: tf.Tensor, colors: tf.Tensor | None = None) -> tf.Tensor:
        """uint8 images NHWC, and what becomes of their colours -> what the network sees."""
        return normalize(images, self.dtype, colors, self.job.config.data.preprocessing)

    def _sum_of_gradients(self, gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Over all replicas; called in a replica's context."""
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients, _ALL_REDUCE)

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
        if self.optimize.ema_decay:
            for binding, average in zip(self.parameters, self.average, strict=True):
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

    def _sample_batches(self, sample: PreciseBatchNorm) -> Iterable[Images]:
        job, world, threads = self.job, self.world, self.job.plan.decode_processes
        seed, size, count = self.optimize.seed, sample.batch_size, sample.batches
        places = self.reads_coordinates
        return statistics_input(job.train, job.config.data, seed, size, count, world, threads, places)

    def _estimate(self, count: int, mine: Sequence[Images]) -> None:
        """Of `count` batches this rank measures `mine`; all ranks then take the same numbers together."""
        moments = np.zeros((count, 2, sum(layer.moving_mean.shape[0] for layer in self.normalised)))
        for index, batch in zip(range(self.world.rank, count, self.world.size), mine, strict=True):
            moments[index] = self._local_moments(batch._replace(names=())).numpy()
        tf_batchnorm.set_statistics(self.normalised, population(self.sum_over_ranks(moments)))

    def _measure(self, batch: Images) -> tf.Tensor:
        return tf_batchnorm.measure(self.normalised, lambda: self._see(batch))

    @abstractmethod
    def _see(self, batch: Images) -> object:
        """Lets a batch through all of the network, as in evaluation; to be traced."""

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
