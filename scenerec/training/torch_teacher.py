"""Learning from a teacher in torch: its answers to the pixels that the network sees, and the loss.

Mirrors tf_teacher.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from scenerec.data.resize_matrix import resize_matrix
from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.predictors.open_predictor import predictor_of
from scenerec.inference.predictors.trained_model import ZooNetwork
from scenerec.models import torch_model
from scenerec.models.preprocessing import WeightPreprocessing
from scenerec.training.learner import TrainingJob
from scenerec.training.teacher import class_order, planned_teacher

Network = Callable[..., torch.Tensor]
"""Normalised pixels [n, 3, size, size], and coordinates where it reads them -> logits [n, classes]."""


class TorchTeacher:
    """The teacher of a job that has one: it takes the network's pixels, and gives logits for the network's classes.

    Args:
        job: a plan with a teacher, and its data.
        device: where a network of the zoo computes; a bundle does on the CPU.
        dtype: of the pixels.
    """

    def __init__(self, job: TrainingJob, device: torch.device, dtype: torch.dtype) -> None:
        assert job.plan.teacher is not None
        teacher, size = planned_teacher(job.config, job.plan.teacher), job.config.data.training_size
        matrix, order = resize_matrix(size, teacher.image_size), class_order(teacher, job.classes)
        resizes, ours = teacher.image_size != size, job.config.data.preprocessing
        self._matrix = torch.tensor(matrix, dtype=dtype, device=device) if resizes else None
        self._order = None if order is None else torch.tensor(order, device=device)
        self._network: Network = (
            _bundle(teacher.network, job.config.scale.cpus_per_worker, ours)
            if isinstance(teacher.network, Bundle)
            else _renormalised(_zoo_network(teacher.network, device, dtype), teacher.preprocessing, ours)
        )

    @torch.no_grad()
    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalised pixels [n, 3, image_size, image_size] -> logits [n, classes], without a gradient."""
        logits = self._network(self._resized(pixels))
        return logits if self._order is None else logits[:, self._order]

    def _resized(self, pixels: torch.Tensor) -> torch.Tensor:
        """At the teacher's size, and in full precision, whatever the networks compute in."""
        if self._matrix is None:
            return pixels
        with torch.autocast(pixels.device.type, enabled=False):
            resized = self._matrix @ pixels @ self._matrix.T
        return resized.contiguous(memory_format=torch.channels_last)


def distillation_losses(logits: torch.Tensor, taught: torch.Tensor, temperature: float) -> torch.Tensor:
    """The square of the temperature times KL(teacher || network), [n], of both's softmax at this temperature.

    From logits [n, classes] of the network and of its teacher (Hinton, Vinyals and Dean 2015, section 2). The square
    keeps the gradients' size, whatever the temperature.
    """
    ours, theirs = (F.log_softmax(each / temperature, dim=1) for each in (logits, taught))
    return temperature**2 * F.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=1)


def _zoo_network(network: ZooNetwork, device: torch.device, dtype: torch.dtype) -> Network:
    model = torch_model.build(network.arch, network.classes, seed=0)
    torch_model.load_state(model, network.state)
    return model.requires_grad_(False).eval().to(device, dtype, memory_format=torch.channels_last)


def _renormalised(network: Network, own: WeightPreprocessing, given: WeightPreprocessing) -> Network:
    """The network, which takes pixels that are normalised as `given`, whatever its `own` weights expect."""
    terms = own.renormalization(given)
    if terms is None:
        return network

    def answer(pixels: torch.Tensor) -> torch.Tensor:
        factor, addend = (torch.tensor(each, dtype=pixels.dtype, device=pixels.device).view(3, 1, 1) for each in terms)
        return network(pixels * factor + addend)

    return answer


def _bundle(bundle: Bundle, threads: int, given: WeightPreprocessing) -> Network:
    """A bundle takes whole levels: the pixels are rounded to them."""
    predictor = predictor_of(bundle, threads)

    def answer(pixels: torch.Tensor) -> torch.Tensor:
        terms = (given.mean_levels, given.std_levels)
        mean, std = (torch.tensor(each, dtype=pixels.dtype, device=pixels.device) for each in terms)
        levels = (pixels.permute(0, 2, 3, 1) * std + mean).round().clamp(0, 255).to(torch.uint8)
        return torch.from_numpy(predictor.logits(levels.cpu().numpy())).to(pixels.device)

    return answer
