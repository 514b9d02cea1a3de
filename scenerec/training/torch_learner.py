"""A torch network with its optimizer, on one rank of a DistributedDataParallel group. Mirrors tf_learner."""

from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils._pytree import tree_map
from typing_extensions import override

from scenerec.data.stream import Cursor
from scenerec.data.torch_input import Batch, training_input, validation_input
from scenerec.models import torch_dropout, torch_freezing, torch_model
from scenerec.models.torch_geo import network_inputs
from scenerec.training.initial import initial_state
from scenerec.training.learner import TrainingJob
from scenerec.training.task import Counts
from scenerec.training.torch_compiler import compiled
from scenerec.training.torch_mechanics import TorchMechanics
from scenerec.training.torch_mixing import mixed_pixels, mixed_targets, mixed_weights
from scenerec.training.torch_ranks import mean_of_ranks
from scenerec.training.torch_task import torch_task
from scenerec.training.torch_teacher import Network, TorchTeacher, distillation_losses
from scenerec.world import World


def use_threads(threads: int) -> None:
    """Cores that this process may compute on. Before the first learner is made."""
    torch.set_num_threads(threads)


class TorchLearner(TorchMechanics[Batch]):
    """A torch classifier that learns, on one rank. Where the world has several, their group is set up."""

    def __init__(self, job: TrainingJob, world: World) -> None:
        config = job.config
        network, seed = config.model, config.optimize.seed
        model = torch_model.build(network.arch, job.plan.classes, seed, network.geo, network.drop_path)
        torch_model.load_state(model, initial_state(config, torch_model.state(model)))
        self.drops = torch_dropout.draw_by_sample(model)
        super().__init__(job, world, model)
        self.task = torch_task(job.task)
        self.parallel: nn.Module = mean_of_ranks(self.model, config.compute.compile) if world.size > 1 else self.model
        self.trained: Network = compiled(self.parallel) if config.compute.compile else self.parallel
        weights = list(job.plan.class_weights.values())
        of_classes = torch.tensor(weights, dtype=self.dtype, device=self.device) if weights else None
        self.image_weights = None if job.task.weighs_labels else of_classes
        self.label_weights = of_classes if job.task.weighs_labels else None
        self.teacher = TorchTeacher(job, self.device, self.dtype) if job.plan.teacher else None

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
        torch_freezing.train_mode(self.parallel)
        self.average_statistics = {}
        pieces = self._pieces(batch)
        for index, piece in enumerate(pieces):
            with self._gradient_exchange(last=index == len(pieces) - 1):
                self._forward_backward(piece)
        if self._update(learning_rate) and self.average:
            with torch.no_grad():
                parameters = [self.parameters[name] for name in self.average]
                torch._foreach_lerp_(list(self.average.values()), parameters, 1 - self.optimize.ema_decay)

    def _pieces(self, batch: Batch) -> list[Batch]:
        """What is computed at once, on the device."""
        count = self.optimize.accumulate_steps

        def on_device(value: torch.Tensor | None) -> torch.Tensor | None:
            return None if value is None else self._on_device(value)

        def piece(index: int, value: torch.Tensor | None) -> torch.Tensor | None:
            return None if value is None else value.tensor_split(count)[index]

        tensors = tree_map(on_device, batch._replace(names=()))
        return [tree_map(partial(piece, index), tensors) for index in range(count)]

    def _forward_backward(self, batch: Batch) -> None:
        assert batch.drop_keys is not None
        self.drops.begin(batch.drop_keys)
        logits = self._logits(self.trained, batch)
        losses = self._losses(logits, batch)
        if self.image_weights is not None:
            losses = losses * self._weights(self.image_weights, batch)
        loss = losses.sum() / self.optimize.global_batch_size
        self._loss_sum += loss.detach()
        # DistributedDataParallel divides by the world size; the sum over ranks is the mean over the global batch.
        self.scaler.scale(loss * self.world.size).backward()

    def _weights(self, weights: torch.Tensor, batch: Batch) -> torch.Tensor:
        """What the losses of the samples count [n], by the weights of the classes."""
        if batch.partners is None:
            return weights[batch.labels]
        return mixed_weights(weights, batch.labels, batch.partners)

    def _losses(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Losses of the samples [n]: by their labels, by the teacher, or by both."""
        distill = self.optimize.distill
        if distill is None or self.teacher is None:
            return self._label_losses(logits, batch)
        taught = self._logits(self.teacher, batch._replace(coordinates=None))
        losses = distill.weight * distillation_losses(logits, taught, distill.temperature)
        if distill.reads_labels:
            losses += (1 - distill.weight) * self._label_losses(logits, batch)
        return losses

    def _label_losses(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Losses of the samples [n] by their labels; of mixed images, by both."""
        targets = batch.labels
        if batch.partners is not None:
            targets = mixed_targets(targets, batch.partners, logits.shape[1], logits.dtype)
        return self.task.training_losses(logits, targets, self.optimize, self.label_weights)

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
                counts += counts.of_batch(len(batch.labels), [each.cpu().numpy() for each in counted])
        return counts.over_ranks(self.world, self.sum_over_ranks)

    @override
    def _see(self, batch: Batch) -> torch.Tensor:
        return self._logits(self.model, batch)

    def _logits(self, model: Network, batch: Batch) -> torch.Tensor:
        """A network's answers to a batch, [n, classes], in the weights' precision."""
        pixels = self._pixels(batch.images, batch.colors)
        if batch.partners is not None:
            theirs = self._pixels(batch.partners.images, batch.partners.colors)
            pixels = mixed_pixels(pixels, theirs, batch.partners)
        coordinates = None if batch.coordinates is None else self._on_device(batch.coordinates)
        with self._low_precision():
            return model(pixels, *network_inputs(coordinates, self.dtype)).to(self.dtype)

    def _gradient_exchange(self, last: bool) -> AbstractContextManager[None]:
        if isinstance(self.parallel, DistributedDataParallel) and not last:
            return self.parallel.no_sync()
        return nullcontext()
