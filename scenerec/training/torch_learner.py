"""A torch network with its optimizer, on one rank of a DistributedDataParallel group. Mirrors tf_learner."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from typing_extensions import override

from scenerec.checkpoint import LearnerState
from scenerec.data.stream import Cursor
from scenerec.data.torch_input import Batch, normalize, statistics_input, training_input, validation_input
from scenerec.models import torch_batchnorm, torch_freezing, torch_model
from scenerec.models.blocks import lr_factors
from scenerec.models.freezing import frozen_names
from scenerec.models.torch_geo import network_inputs
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
from scenerec.training.torch_optimizers import Optimizer, clip_by_global_norm
from scenerec.training.torch_task import torch_task
from scenerec.world import World

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def use_threads(threads: int) -> None:
    """Cores that this process may compute on. Before the first learner is made."""
    torch.set_num_threads(threads)


class TorchLearner(Learner[Batch]):
    """A torch network with its optimizer, on one rank. Where the world has several, their group is set up."""

    def __init__(self, job: TrainingJob, world: World) -> None:
        config = job.config
        self.job, self.world, self.optimize = job, world, config.optimize
        self.task = torch_task(job.task)
        self.reads_coordinates = config.model.geo is not None
        self.device = torch.device(world.device)
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)  # for NCCL, which otherwise takes the first
        self.model = torch_model.build(config.model.arch, job.plan.classes, config.optimize.seed, config.model.geo)
        torch_model.load_state(self.model, initial_state(config, torch_model.state(self.model)))
        self.dtype = torch.float64 if self.optimize.precision == "fp64" else torch.float32
        self.model.to(self.device, self.dtype, memory_format=torch.channels_last)
        names = [name for name, _ in self.model.named_parameters()]
        torch_freezing.freeze(self.model, frozen_names(config.model.arch, config.model.freeze, names))
        # Running statistics are rank 0's, but only validation and checkpoints read them: sent then, not each step.
        self.parallel: nn.Module = (
            DistributedDataParallel(self.model, forward_sync_buffers=False) if world.size > 1 else self.model
        )
        self.parameters = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        factors = lr_factors(config.model.arch, names, self.optimize.layer_decay)
        self.optimizer = Optimizer(self.optimize, self.parameters, factors)
        self.scaler = torch.amp.GradScaler(
            self.device.type,
            init_scale=FP16_FIRST_LOSS_SCALE,
            growth_factor=FP16_GROWTH_FACTOR,
            backoff_factor=FP16_BACKOFF_FACTOR,
            growth_interval=FP16_GROWTH_INTERVAL,
            enabled=self.optimize.precision == "fp16",
        )
        self.average = (
            {name: p.detach().clone() for name, p in self.parameters.items()} if self.optimize.ema_decay else {}
        )
        self.average_statistics: dict[str, torch.Tensor] = {}  # of the averages as they are since the last step
        weights = list(job.plan.class_weights.values())
        self.class_weights = torch.tensor(weights, dtype=self.dtype, device=self.device) if weights else None
        self.normalised = torch_batchnorm.trained_layers(self.model)
        self.sample_batches: list[Batch] | None = None
        self.steps = 0
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)

    @override
    def training_batches(self, start: Cursor) -> Generator[Batch, None, None]:
        job = self.job
        self.steps = start.epoch * job.plan.steps_per_epoch + start.step
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
        torch_freezing.train_mode(self.parallel)
        self.average_statistics = {}
        self._seed_dropout()
        pieces = self._pieces(batch)
        for index, piece in enumerate(pieces):
            with self._gradient_exchange(last=index == len(pieces) - 1):
                self._forward_backward(piece)
        self._update(learning_rate)
        self.steps += 1

    def _pieces(self, batch: Batch) -> list[Batch]:
        """What is computed at once, on the device."""
        pieces = self.optimize.accumulate_steps
        images, labels = (self._on_device(tensor).tensor_split(pieces) for tensor in (batch.images, batch.labels))
        colors, coordinates = (
            [None] * pieces if tensor is None else self._on_device(tensor).tensor_split(pieces)
            for tensor in (batch.colors, batch.coordinates)
        )
        parts = zip(images, labels, colors, coordinates, strict=True)
        return [Batch(*part, coordinates=place) for *part, place in parts]

    def _on_device(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self.device, non_blocking=True)

    def _forward_backward(self, batch: Batch) -> None:
        logits = self._logits(self.parallel, batch)
        losses = self.task.training_losses(logits, batch.labels, self.optimize)
        if self.class_weights is not None:
            losses = losses * self.class_weights[batch.labels]
        loss = losses.sum() / self.optimize.global_batch_size
        self._loss_sum += loss.detach()
        # DistributedDataParallel divides by the world size; the sum over ranks is the mean over the global batch.
        self.scaler.scale(loss * self.world.size).backward()

    def _update(self, learning_rate: float) -> None:
        self.scaler.unscale_(self.optimizer.rule)
        if self.optimize.clip_grad_norm:
            clip_by_global_norm(self.parameters, self.optimize.clip_grad_norm)
        if self.optimizer.update(learning_rate, self.scaler) and self.average:
            with torch.no_grad():
                parameters = [self.parameters[name] for name in self.average]
                torch._foreach_lerp_(list(self.average.values()), parameters, 1 - self.optimize.ema_decay)

    @override
    def take_loss(self) -> float:
        total = self.sum_over_ranks(self._loss_sum.cpu().numpy().reshape(1))[0]
        self._loss_sum.zero_()
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
                self.average_statistics = torch_batchnorm.statistics(self.normalised)
        self._estimate(sample.batches, self.sample_batches)

    def _sample_batches(self, sample: PreciseBatchNorm) -> Iterable[Batch]:
        job, world, threads = self.job, self.world, self.job.plan.decode_processes
        seed, size, count = self.optimize.seed, sample.batch_size, sample.batches
        return statistics_input(
            job.train, job.config.data, seed, size, count, world, threads, coordinates=self.reads_coordinates
        )

    def _estimate(self, count: int, mine: Sequence[Batch]) -> None:
        """Of `count` batches this rank measures `mine`; all ranks then take the same numbers together."""
        moments = np.zeros((count, 2, sum(layer.num_features for layer in self.normalised.values())))
        for index, batch in zip(range(self.world.rank, count, self.world.size), mine, strict=True):
            forward = partial(self._logits, self.model, batch)
            moments[index] = torch_batchnorm.measure(self.model, self.normalised, forward)
        torch_batchnorm.set_statistics(self.normalised, population(self.sum_over_ranks(moments)))

    @override
    @torch.no_grad()
    def evaluate(self, batches: Iterable[Batch]) -> Counts:
        self._share_running_statistics()
        self.model.eval()
        counts = self.job.task.counts()
        with self._averaged_weights():
            for batch in batches:
                logits = self._logits(self.model, batch)
                counted = self.task.count(logits, self._on_device(batch.labels))
                counts += self.job.task.counts(len(batch.labels), *map(float, counted))
        return counts.from_array(self.sum_over_ranks(counts.as_array()))

    @override
    def state(self) -> LearnerState:
        self._share_running_statistics()
        averages = self.average | self.average_statistics
        return LearnerState(
            model=torch_model.state(self.model),
            optimizer=self.optimizer.state(),
            ema={name: tensor.to("cpu", torch.float32, copy=True).numpy() for name, tensor in averages.items()},
            updates=self.optimizer.updates,
            loss_scale=self.scaler.get_scale(),
            good_steps=self.scaler.state_dict().get("_growth_tracker", 0),
        )

    @override
    def load_state(self, state: LearnerState) -> None:
        torch_model.load_state(self.model, state.model)
        self.optimizer.load_state(state.optimizer, state.updates)
        for name, tensor in self.average.items():
            tensor.copy_(torch.from_numpy(state.ema[name]))
        self.average_statistics = {
            name: torch.from_numpy(array).to(self.device, self.dtype)
            for name, array in state.ema.items()
            if name not in self.average
        }
        if self.scaler.is_enabled():
            tracker = {"scale": state.loss_scale, "_growth_tracker": state.good_steps}
            self.scaler.load_state_dict(self.scaler.state_dict() | tracker)

    @override
    def agree(self, value: int) -> int:
        return round(float(self.sum_over_ranks(np.array([value if self.world.is_chief else 0], dtype=np.float64))[0]))

    def _logits(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """The network's answers to a batch, [n, classes], in the weights' precision."""
        colors = None if batch.colors is None else self._on_device(batch.colors)
        coordinates = None if batch.coordinates is None else self._on_device(batch.coordinates)
        pixels = normalize(self._on_device(batch.images), self.dtype, colors)
        low = _AUTOCAST.get(self.optimize.precision)
        with torch.autocast(self.device.type, dtype=low) if low else nullcontext():
            return model(pixels, *network_inputs(coordinates, self.dtype)).to(self.dtype)

    def _gradient_exchange(self, last: bool) -> AbstractContextManager[None]:
        if isinstance(self.parallel, DistributedDataParallel) and not last:
            return self.parallel.no_sync()
        return nullcontext()

    def _seed_dropout(self) -> None:
        """Dropout by (seed, step, rank) alone: nothing to save, and a resumed run draws what it would have drawn."""
        key = (self.optimize.seed, self.steps, self.world.rank)
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))

    @contextmanager
    def _averaged_weights(self) -> Iterator[None]:
        """The averages and their statistics in the model's place, where they are kept."""
        averages = self.average | self.average_statistics
        places = {name: tensor for name, tensor in self.model.state_dict().items() if name in averages}
        trained = {name: tensor.clone() for name, tensor in places.items()}
        for name, tensor in averages.items():
            places[name].copy_(tensor)
        try:
            yield
        finally:
            for name, tensor in trained.items():
                places[name].copy_(tensor)

    def _share_running_statistics(self) -> None:
        if self.world.size > 1:
            for buffer in self.model.buffers():
                dist.broadcast(buffer, src=0)

    @override
    def sum_over_ranks(self, values: np.ndarray) -> np.ndarray:
        if self.world.size == 1:
            return values
        total = torch.from_numpy(values).to(self.device)
        dist.all_reduce(total)
        return total.cpu().numpy()
