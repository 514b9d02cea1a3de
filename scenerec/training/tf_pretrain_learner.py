"""A Keras encoder that learns from pairs of views, on one rank. Mirrors torch_pretrain_learner."""

from collections.abc import Generator, Iterable, Mapping
from functools import partial
from typing import NamedTuple

# First: torchvision goes before tensorflow.
from scenerec.models import tf_batchnorm, tf_encoder, tf_freezing, tf_model

import keras  # isort: skip
import numpy as np
import tensorflow as tf
from typing_extensions import override

from scenerec.checkpoint import LearnerState, Tensors
from scenerec.config.pretrain import MethodConfig
from scenerec.data.packed_set import PackedSet
from scenerec.data.stream import Cursor
from scenerec.data.tf_input import Batch, statistics_input, validation_input, view_pair_input
from scenerec.data.view_pair import PairBatch
from scenerec.models.freezing import frozen_names
from scenerec.models.heads import Head, first_queue
from scenerec.training.batchnorm import PreciseBatchNorm
from scenerec.training.initial import initial_backbone
from scenerec.training.learner import PretrainingJob
from scenerec.training.pretrain_heads import heads_of
from scenerec.training.probe import (
    BATCH_SIZE,
    VALIDATION_EPOCH,
    Features,
    FirstBatches,
    is_probed,
    joined,
    judge_embeddings,
    judge_features,
    probe_batches,
    validation_order,
    validation_steps,
)
from scenerec.training.schedules import encoder_momentum
from scenerec.training.task import Counts, PretrainingCounts
from scenerec.training.tf_contrastive import (
    gather,
    info_nce,
    normalize_rows,
    nt_xent,
    symmetric_info_nce,
    update_momentum_encoder,
    update_queue,
)
from scenerec.training.tf_mechanics import TfMechanics
from scenerec.world import World

Pairs = PairBatch[Batch]


class Contrast(NamedTuple):
    """What a method makes of a rank's pairs."""

    losses: tf.Tensor
    """Of each pair, [n]."""
    embeddings: tf.Tensor
    """Of the first views, [n, d], by the network that is trained."""
    keys: tf.Tensor | None = None
    """What goes into the queue, [n, d]."""


class TfPretrainLearner(TfMechanics[Pairs]):
    """An encoder with a projector, and by method a predictor, a momentum encoder and a queue, on one rank."""

    def __init__(self, job: PretrainingJob, world: World) -> None:
        config = self.config = job.config
        self.method, self.probe = config.pretrain, job.probe
        arch, size, seed = config.model.arch, config.data.image_size, config.optimize.seed

        def build() -> keras.Model:
            model = tf_encoder.build(arch, partial(heads_of, self.method), size, seed)
            tf_model.load_state(model, initial_backbone(config, tf_model.state(model)))
            return model

        super().__init__(job, world, build)
        self.momentum_encoder: keras.Model | None = None
        self.queue: tf.Variable | None = None
        with self.strategy.scope():
            if self.method.has_momentum_encoder:
                self.momentum_encoder = tf_encoder.build(arch, self._projector, size, seed)
                self._begin_momentum_encoder(self.momentum_encoder)
            if self.method.queue is not None:
                first = first_queue(self.method.queue, self.method.embedding_size, seed)
                self.queue = tf.Variable(first, trainable=False, dtype=self.dtype)
                self.queue_position = tf.Variable(0, trainable=False, dtype=tf.int32)
        for model in (self.model, self.momentum_encoder):
            for layer in tf_batchnorm.trained_layers(model) if model else ():
                layer.synchronised = world.size > 1
        self.steps = 0
        self._distributed_step = tf.function(self._run_step, autograph=False, reduce_retracing=True)
        self._distributed_contrast = tf.function(self._run_contrast, autograph=False, reduce_retracing=True)
        self._local_features = tf.function(self._features_of, autograph=False, reduce_retracing=True)

    def _projector(self, features: int) -> Mapping[str, Head]:
        return {"projector": heads_of(self.method, features)["projector"]}

    def _begin_momentum_encoder(self, encoder: keras.Model) -> None:
        """Begins as what is trained, and is averaged over what is trained of it."""
        state, bindings = tf_model.state(self.model), tf_model.bindings(encoder)
        tf_model.load_state(encoder, {binding.key: state[binding.key] for binding in bindings})
        names = [binding.key for binding in bindings if binding.trainable]
        tf_freezing.freeze(encoder, frozen_names(self.config.model.arch, self.config.model.freeze, names))
        weights = {binding.key: binding.variable for binding in bindings}
        self.average = [weights[b.key] for b in self.parameters if b.key in weights]
        assert all(b.key in weights for b in self.parameters[: len(self.average)])  # the predictor is behind them

    @override
    def training_batches(self, start: Cursor) -> Generator[Pairs, None, None]:
        job, config = self.job, self.config
        self.steps = start.epoch * job.plan.steps_per_epoch + start.step
        for model in (self.model, self.momentum_encoder):
            if model is not None:
                tf_model.restart_dropout(model, self.optimize.seed, self.steps * _passes(self.method))
        threads = job.plan.decode_processes
        return view_pair_input(job.train, config.paired, config.views.second, job.order, self.world, start, threads)

    @override
    def validation_batches(self) -> Iterable[Pairs]:
        job, config, threads = self.job, self.config, self.job.plan.decode_processes
        order, start, second = validation_order(job.order), Cursor(VALIDATION_EPOCH), config.views.second
        begin = partial(view_pair_input, job.train, config.paired, second, order, self.world, start, threads)
        return FirstBatches(begin, validation_steps(config, job.plan.steps_per_epoch))

    @override
    def train_step(self, batch: Pairs, learning_rate: float) -> None:
        rates = tf.constant(learning_rate, self.dtype), tf.constant(self._momentum(), tf.float64)
        loss = self._distributed_step(_nameless(batch), *rates)
        self._loss_sum += tf.cast(loss, tf.float64)
        self.steps += 1

    def _momentum(self) -> float:
        if self.method.momentum is None:
            return 0.0
        if self.method.momentum_schedule != "cosine":
            return self.method.momentum
        return encoder_momentum(self.steps, self.job.plan.total_steps, self.method.momentum)

    def _run_step(self, batch: Pairs, learning_rate: tf.Tensor, momentum: tf.Tensor) -> tf.Tensor:
        return self.strategy.run(self._replica_step, args=(batch, learning_rate, momentum))

    def _replica_step(self, batch: Pairs, learning_rate: tf.Tensor, momentum: tf.Tensor) -> tf.Tensor:
        weights = [b.variable.value for b in self.parameters]
        update_momentum_encoder(self.average, weights[: len(self.average)], momentum)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            losses, _, keys = self._contrast(batch, training=True)
            loss = tf.reduce_sum(losses) / self.optimize.global_batch_size
            scaled = loss * self.loss_scale
        gradients = [tf.cast(gradient, self.dtype) for gradient in tape.gradient(scaled, weights)]
        self._update(self._sum_of_gradients(gradients), learning_rate)
        if self.queue is not None:
            queue, position = update_queue(self.queue.value(), self.queue_position.value(), self._of_all_ranks(keys))
            self.queue.assign(queue)
            self.queue_position.assign(position)
        return loss

    def _contrast(self, batch: Pairs, training: bool) -> Contrast:
        first, second = (self._pixels(view.images, view.colors) for view in (batch.first, batch.second))
        temperature = self.method.temperature

        def query(views: tf.Tensor) -> tf.Tensor:
            return self.trained(views, training=training)[-1]

        def key(views: tf.Tensor) -> tf.Tensor:
            assert self.momentum_encoder is not None
            return tf.stop_gradient(self.momentum_encoder(views, training=training)[-1])

        match self.method.method:
            case "simclr":
                if self.method.batchnorm == "each_view":
                    ours, theirs = query(first), query(second)
                else:  # one pass: BatchNorm sees both views
                    ours, theirs = tf.split(query(tf.concat([first, second], axis=0)), 2)
                return Contrast(nt_xent(ours, theirs, temperature, gather), ours)
            case "mocov2":
                assert self.queue is not None
                ours, keys = query(first), key(second)
                return Contrast(info_nce(ours, keys, self.queue.value(), temperature), ours, keys)
            case "mocov3":
                q1, q2, k1, k2 = query(first), query(second), key(first), key(second)
                return Contrast(symmetric_info_nce(q1, q2, k1, k2, temperature, gather), q1)

    def _of_all_ranks(self, keys: tf.Tensor) -> tf.Tensor:
        """The keys of the global batch in its order, of which rank r has each `world.size`-th from r on."""
        rows = gather(normalize_rows(keys)).rows
        by_rank = tf.reshape(rows, [self.world.size, -1, self.method.embedding_size])
        return tf.reshape(tf.transpose(by_rank, [1, 0, 2]), [-1, self.method.embedding_size])

    @override
    def _see(self, batch: Batch) -> list[tf.Tensor]:
        return self.model(self._pixels(batch.images), training=False)

    def _features_of(self, images: tf.Tensor) -> tf.Tensor:
        return self.model(self._pixels(images), training=False)[0]

    @override
    def estimate_statistics(self, sample: PreciseBatchNorm) -> None:
        super().estimate_statistics(sample)
        self._set_momentum_statistics(self.average_statistics)

    @override
    def evaluate(self, batches: Iterable[Pairs]) -> Counts:
        counts, embeddings = PretrainingCounts(), []
        for batch in batches:
            losses, some_embeddings = self._distributed_contrast(_nameless(batch))
            counts += PretrainingCounts(len(losses), float(tf.reduce_sum(losses)))
            embeddings.append(some_embeddings.numpy())
        counts += judge_embeddings(np.concatenate(embeddings), self.world, self.sum_over_ranks)
        epoch = self.steps // self.job.plan.steps_per_epoch
        if self.probe and is_probed(self.config, epoch):
            known, asked = (self._features(batches) for batches in self._probe_batches(*self.probe))
            counts += judge_features(self.config, known, asked, epoch, self.world, self.sum_over_ranks)
        return counts.from_array(self.sum_over_ranks(counts.as_array()))

    def _run_contrast(self, batch: Pairs) -> tuple[tf.Tensor, tf.Tensor]:
        return self.strategy.run(lambda pairs: self._contrast(pairs, training=False)[:2], args=(batch,))

    def _probe_batches(self, train: PackedSet, val: PackedSet) -> tuple[Iterable[Batch], Iterable[Batch]]:
        data, world, threads = self.config.data, self.world, self.job.plan.decode_processes
        asked = validation_input(val, data, world, BATCH_SIZE, threads)
        sampled = probe_batches(self.config, train.manifest.samples)
        if sampled is None:
            return validation_input(train, data, world, BATCH_SIZE, threads), asked
        return statistics_input(train, data, self.optimize.seed, BATCH_SIZE, sampled, world, threads), asked

    def _features(self, batches: Iterable[Batch]) -> Features:
        return joined((self._local_features(batch.images).numpy(), batch.labels.numpy()) for batch in batches)

    @override
    def state(self) -> LearnerState:
        self.average_statistics = {key: variable.numpy() for key, variable in self._momentum_statistics().items()}
        state = super().state()
        if self.queue is not None:
            keys, position = np.asarray(self.queue.numpy(), np.float32), self.queue_position.numpy()
            state.queue = {"keys": keys, "position": np.array([position], np.int64)}
        return state

    @override
    def load_state(self, state: LearnerState) -> None:
        super().load_state(state)
        self._set_momentum_statistics(self.average_statistics)
        if self.queue is not None:
            self.queue.assign(state.queue["keys"])
            self.queue_position.assign(int(state.queue["position"][0]))

    def _momentum_statistics(self) -> dict[str, keras.Variable]:
        """The running statistics of the momentum encoder themselves, by torch's names."""
        if self.momentum_encoder is None:
            return {}
        return {
            key: variable
            for layer in tf_batchnorm.trained_layers(self.momentum_encoder)
            for key, variable in layer.neutral_weights().items()
            if key.endswith(("running_mean", "running_var"))
        }

    def _set_momentum_statistics(self, statistics: Tensors) -> None:
        for key, variable in self._momentum_statistics().items():
            if key in statistics:
                variable.assign(statistics[key])


def _nameless(batch: Pairs) -> Pairs:
    """Other names would be another graph."""
    return PairBatch(batch.first._replace(names=()), batch.second._replace(names=()), ())


def _passes(method: MethodConfig) -> int:
    """How often images go through a network in a step."""
    return 2 if method.method == "mocov3" or method.batchnorm == "each_view" else 1
