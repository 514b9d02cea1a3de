"""The arithmetic of a task in torch. Mirrors tf_task."""

from importlib import import_module
from typing import Protocol, cast

import torch

from scenerec.config.optimize import OptimizeConfig
from scenerec.training.task import Task


class TorchTask(Protocol):
    """The arithmetic of a task in torch: a module with these two functions."""

    def training_losses(
        self, outputs: torch.Tensor, targets: torch.Tensor, config: OptimizeConfig, label_weights: torch.Tensor | None
    ) -> torch.Tensor:
        """Losses of the samples [n], from the network's outputs [n, classes] and what these should say.

        `targets` are the batch's labels; where images are mixed, shares of the classes [n, classes]. `label_weights`,
        [classes], are those of a task that `weighs_labels`, where a run has some; None elsewhere.
        """

    def count(self, outputs: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What the task's `Counts.of_batch` takes, from the outputs and labels at validation: by default scalars in the
        order of its fields, without `samples`.
        """


def torch_task(task: Task) -> TorchTask:
    """Imports the arithmetic of a task."""
    return cast(TorchTask, import_module(task.torch_module))
