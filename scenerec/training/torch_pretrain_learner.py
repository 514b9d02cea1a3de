"""A torch encoder that learns from pairs of views, on one rank. Mirrors tf_pretrain_learner.

BatchNorm normalises by the batches of all ranks, so that any number of them learns the same: SimCLR asks for it
(section 2.2), and MoCo's shuffling of samples between ranks, which has the same purpose, does not give it.
"""

from collections.abc import Generator, Iterable, Mapping
from copy import deepcopy
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from typing_extensions import override

from scenerec.checkpoint import LearnerState
from scenerec.data.packed_set import PackedSet
from scenerec.data.stream import Cursor
from scenerec.data.torch_input import Batch, statistics_input, validation_input, view_pair_input
from scenerec.data.view_pair import PairBatch
from scenerec.models import torch_batchnorm, torch_encoder, torch_freezing, torch_model
from scenerec.models.heads import first_queue
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
from scenerec.training.torch_contrastive import (
    gather,
    info_nce,
    normalize_rows,
    nt_xent,
    symmetric_info_nce,
    update_momentum_encoder,
    update_queue,
)
from scenerec.training.torch_mechanics import TorchMechanics
from scenerec.training.torch_ranks import mean_of_ranks
from scenerec.world import World

Pairs = PairBatch[Batch]


class Contrast(NamedTuple):
    """What a method makes of a rank's pairs."""

    losses: torch.Tensor
    """Of each pair, [n]."""
    embeddings: torch.Tensor
    """Of the first views, [n, d], by the network that is trained."""
    keys: torch.Tensor | None = None
    """What goes into the queue, [n, d]."""


class TorchPretrainLearner(TorchMechanics[Pairs]):
    """An encoder with a projector, and by method a predictor, a momentum encoder and a queue, on one rank."""

    def __init__(self, job: PretrainingJob, world: World) -> None:
        config = self.config = job.config
        self.method, self.probe = config.pretrain, job.probe
        model = torch_encoder.build(config.model.arch, partial(heads_of, self.method), config.optimize.seed)
        torch_model.load_state(model, initial_backbone(config, torch_model.state(model)))
        if world.size > 1:
            torch_batchnorm.synchronise(model)
        super().__init__(job, world, model)
        self.queries = _Queries(self.model)
        self.parallel: nn.Module = mean_of_ranks(self.queries) if world.size > 1 else self.queries
        self.momentum_encoder: nn.Module | None = None
        if self.method.has_momentum_encoder:
            self.momentum_encoder = _without_predictor(deepcopy(self.model))
            weights = {name: p.detach() for name, p in self.momentum_encoder.named_parameters()}
            self.average = {name: weights[name] for name in self.parameters if name in weights}
        self.queue: torch.Tensor | None = None
        self.queue_position = 0
        if self.method.queue is not None:
            first = first_queue(self.method.queue, self.method.embedding_size, config.optimize.seed)
            self.queue = torch.from_numpy(first).to(self.device, self.dtype)

    @override
    def training_batches(self, start: Cursor) -> Generator[Pairs, None, None]:
        job, config = self.job, self.config
        self.steps = start.epoch * job.plan.steps_per_epoch + start.step
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
        torch_freezing.train_mode(self.parallel)
        self._seed_dropout()
        if self.momentum_encoder is not None:
            torch_freezing.train_mode(self.momentum_encoder)
            queries = [self.parameters[name].detach() for name in self.average]
            update_momentum_encoder(list(self.average.values()), queries, self._momentum())
        losses, _, keys = self._contrast(batch)
        loss = losses.sum() / self.optimize.global_batch_size
        self._loss_sum += loss.detach()
        # DistributedDataParallel divides by the world size; the sum over ranks is the mean over the global batch.
        self.scaler.scale(loss * self.world.size).backward()
        self._update(learning_rate)
        if self.queue is not None and keys is not None:
            self.queue, self.queue_position = update_queue(self.queue, self.queue_position, self._of_all_ranks(keys))
        self.steps += 1

    def _momentum(self) -> float:
        assert self.method.momentum is not None
        if self.method.momentum_schedule != "cosine":
            return self.method.momentum
        return encoder_momentum(self.steps, self.job.plan.total_steps, self.method.momentum)

    def _contrast(self, batch: Pairs) -> Contrast:
        first, second = (self._pixels(view.images, view.colors) for view in (batch.first, batch.second))
        temperature = self.method.temperature
        match self.method.method:
            case "simclr":
                if self.method.batchnorm == "each_view":
                    ours, theirs = self._queries(first, second)
                else:  # one pass: BatchNorm sees both views
                    ours, theirs = self._queries(torch.cat([first, second]))[0].chunk(2)
                return Contrast(nt_xent(ours, theirs, temperature, gather), ours)
            case "mocov2":
                assert self.queue is not None
                (query,), (key,) = self._queries(first), self._keys(second)
                return Contrast(info_nce(query, key, self.queue, temperature), query, key)
            case "mocov3":
                q1, q2 = self._queries(first, second)
                k1, k2 = self._keys(first, second)
                return Contrast(symmetric_info_nce(q1, q2, k1, k2, temperature, gather), q1)

    def _queries(self, *views: torch.Tensor) -> list[torch.Tensor]:
        with self._low_precision():
            outputs = self.parallel(*views) if self.model.training else self.queries(*views)
        return [output.to(self.dtype) for output in outputs]

    @torch.no_grad()
    def _keys(self, *views: torch.Tensor) -> list[torch.Tensor]:
        assert self.momentum_encoder is not None
        with self._low_precision():
            outputs = [torch_encoder.embed(self.momentum_encoder, view)[-1] for view in views]
        return [output.to(self.dtype) for output in outputs]

    def _of_all_ranks(self, keys: torch.Tensor) -> torch.Tensor:
        """The keys of the global batch in its order, of which rank r has each `world.size`-th from r on."""
        rows = gather(normalize_rows(keys)).rows
        return rows.view(self.world.size, len(keys), -1).transpose(0, 1).reshape(len(rows), -1)

    @override
    def _see(self, batch: Batch) -> list[torch.Tensor]:
        pixels = self._pixels(batch.images)
        with self._low_precision():
            return torch_encoder.embed(self.model, pixels)

    @override
    def estimate_statistics(self, sample: PreciseBatchNorm) -> None:
        super().estimate_statistics(sample)
        self._set_momentum_statistics(self.average_statistics)

    @override
    @torch.no_grad()
    def evaluate(self, batches: Iterable[Pairs]) -> Counts:
        self.model.eval()
        if self.momentum_encoder is not None:
            self.momentum_encoder.eval()
        counts, embeddings = PretrainingCounts(), []
        for batch in batches:
            losses, some_embeddings, _ = self._contrast(batch)
            counts += PretrainingCounts(len(losses), float(losses.sum()))
            embeddings.append(some_embeddings.cpu().numpy())
        counts += judge_embeddings(np.concatenate(embeddings), self.world, self.sum_over_ranks)
        epoch = self.steps // self.job.plan.steps_per_epoch
        if self.probe and is_probed(self.config, epoch):
            known, asked = (self._features(batches) for batches in self._probe_batches(*self.probe))
            counts += judge_features(self.config, known, asked, epoch, self.world, self.sum_over_ranks)
        return counts.from_array(self.sum_over_ranks(counts.as_array()))

    def _probe_batches(self, train: PackedSet, val: PackedSet) -> tuple[Iterable[Batch], Iterable[Batch]]:
        data, world, threads = self.config.data, self.world, self.job.plan.decode_processes
        asked = validation_input(val, data, world, BATCH_SIZE, threads)
        sampled = probe_batches(self.config, train.manifest.samples)
        if sampled is None:
            return validation_input(train, data, world, BATCH_SIZE, threads), asked
        return statistics_input(train, data, self.optimize.seed, BATCH_SIZE, sampled, world, threads), asked

    def _features(self, batches: Iterable[Batch]) -> Features:
        return joined((self._see(b)[0].float().cpu().numpy(), b.labels.numpy()) for b in batches)

    @override
    def state(self) -> LearnerState:
        self.average_statistics = self._momentum_statistics()
        state = super().state()
        if self.queue is not None:
            keys = self.queue.to("cpu", torch.float32, copy=True).numpy()
            state.queue = {"keys": keys, "position": np.array([self.queue_position])}
        return state

    @override
    def load_state(self, state: LearnerState) -> None:
        super().load_state(state)
        self._set_momentum_statistics(self.average_statistics)
        if self.queue is not None:
            self.queue.copy_(torch.from_numpy(state.queue["keys"]))
            self.queue_position = int(state.queue["position"][0])

    def _momentum_statistics(self) -> dict[str, torch.Tensor]:
        """The running statistics of the momentum encoder themselves, by name."""
        if self.momentum_encoder is None:
            return {}
        layers = torch_batchnorm.trained_layers(self.momentum_encoder)
        return {
            f"{name}.{kind}": getattr(layer, kind)
            for name, layer in layers.items()
            for kind in ("running_mean", "running_var")
        }

    def _set_momentum_statistics(self, statistics: Mapping[str, torch.Tensor]) -> None:
        for name, tensor in self._momentum_statistics().items():
            if name in statistics:
                tensor.copy_(statistics[name])


class _Queries(nn.Module):
    """The network as the loss sees it: from images to what the last head makes of them, view by view."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @override
    def forward(self, *views: torch.Tensor) -> list[torch.Tensor]:
        return [torch_encoder.embed(self.network, view)[-1] for view in views]


def _without_predictor(network: nn.Module) -> nn.Module:
    if hasattr(network, "predictor"):
        del network.predictor
    return network
