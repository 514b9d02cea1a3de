"""The toy task in torch. Mirrors tf_toy_task."""

import torch

from scenerec.config.optimize import OptimizeConfig


def training_losses(
    outputs: torch.Tensor, targets: torch.Tensor, config: OptimizeConfig, label_weights: torch.Tensor | None
) -> torch.Tensor:
    return (outputs[:, 0] - targets).square()


def count(outputs: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
    errors = outputs[:, 0] - labels
    return errors.square().sum(), errors.abs().sum()
