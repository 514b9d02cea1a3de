"""What all learning in torch has in common, whatever is learned: precision, updates, statistics, sums over the ranks.

Mirrors tf_mechanics.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from typing_extensions import override

from scenerec.checkpoint import LearnerState
from scenerec.config.compute import ComputeConfig
from scenerec.data.torch_input import Batch as Images
from scenerec.data.torch_input import normalize, statistics_input
from scenerec.models import torch_batchnorm, torch_freezing, torch_model
from scenerec.models.blocks import block_paths, lr_factors
from scenerec.models.freezing import frozen_names
from scenerec.models.torch_recompute import recompute
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
from scenerec.training.torch_optimizers import Optimizer, clip_by_global_norm
from scenerec.world import World

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def use_kernels(config: ComputeConfig) -> None:
    """Which kernels GPUs compute by, in this process: TensorFloat-32 or float32, and how cuDNN chooses."""
    torch.backends.cuda.matmul.allow_tf32 = config.tf32
    torch.backends.cudnn.allow_tf32 = config.tf32
    torch.backends.cudnn.benchmark = config.cudnn_benchmark


class TorchMechanics(Learner[Batch]):
    """A torch network with its optimizer, on one rank. Where the world has several, their group is set up."""

    def __init__(self, job: TrainingJob, world: World, model: nn.Module) -> None:
        """Takes a `model` on the CPU, with its first weights."""
        config = job.config
        self.job, self.world, self.optimize = job, world, config.optimize
        self.reads_coordinates = config.model.geo is not None
        self.device = torch.device(world.device)
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)  # for NCCL, which otherwise takes the first
        # A stream of their own, so that copies go on while the GPU computes what was asked for before.
        self.copies = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        use_kernels(config.compute)
        self.dtype = torch.float64 if self.optimize.precision == "fp64" else torch.float32
        self.model = model.to(self.device, self.dtype, memory_format=torch.channels_last)
        names = [name for name, _ in self.model.named_parameters()]
        torch_freezing.freeze(self.model, frozen_names(config.model.arch, config.model.freeze, names))
        self.parameters = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        if config.compute.recompute_activations:
            recompute(self.model, block_paths(config.model.arch, names))
        factors = lr_factors(config.model.arch, names, self.optimize.layer_decay)
        self.optimizer = Optimizer(self.optimize, self.parameters, factors, config.compute.fused_optimizer)
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
        self.normalised = torch_batchnorm.trained_layers(self.model)
        self.sample_batches: list[Images] | None = None
        self.steps = 0
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)

    def _on_device(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor that the device's computations may read; it comes from page-locked memory without blocking."""
        if self.copies is None or tensor.device == self.device:
            return tensor.to(self.device)
        with torch.cuda.stream(self.copies):
            copied = tensor.to(self.device, non_blocking=True)
        computing = torch.cuda.current_stream(self.device)
        computing.wait_stream(self.copies)
        copied.record_stream(computing)  # its memory is not used again before
        return copied

    def _pixels(self, images: torch.Tensor, colors: torch.Tensor | None = None) -> torch.Tensor:
        """uint8 images NCHW, and what becomes of their colours -> what the network sees, on the device."""
        colors = None if colors is None else self._on_device(colors)
        return normalize(self._on_device(images), self.dtype, colors, self.job.config.data.preprocessing)

    def _low_precision(self) -> AbstractContextManager[object]:
        """The arithmetic of forward passes."""
        low = _AUTOCAST.get(self.optimize.precision)
        return torch.autocast(self.device.type, dtype=low) if low else nullcontext()

    def _update(self, learning_rate: float) -> bool:
        """A step by the gradients; False where fp16 has overflowed, and no weight has changed."""
        self.scaler.unscale_(self.optimizer.rule)
        if self.optimize.clip_grad_norm:
            clip_by_global_norm(self.parameters, self.optimize.clip_grad_norm)
        return self.optimizer.update(learning_rate, self.scaler)

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

    def _sample_batches(self, sample: PreciseBatchNorm) -> Iterable[Images]:
        job, world, threads = self.job, self.world, self.job.plan.decode_processes
        seed, size, count = self.optimize.seed, sample.batch_size, sample.batches
        places = self.reads_coordinates
        return statistics_input(job.train, job.config.data, seed, size, count, world, threads, places)

    def _estimate(self, count: int, mine: Sequence[Images]) -> None:
        """Of `count` batches this rank measures `mine`; all ranks then take the same numbers together."""
        moments = np.zeros((count, 2, sum(layer.num_features for layer in self.normalised.values())))
        for index, batch in zip(range(self.world.rank, count, self.world.size), mine, strict=True):
            moments[index] = torch_batchnorm.measure(self.model, self.normalised, partial(self._see, batch))
        torch_batchnorm.set_statistics(self.normalised, population(self.sum_over_ranks(moments)))

    @abstractmethod
    def _see(self, batch: Images) -> object:
        """Lets a batch through all of the network."""

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
