"""Multi-label classification in torch: each label asked by itself. Mirrors tf_multilabel."""

import torch

from scenerec.config.optimize import OptimizeConfig
from scenerec.training.torch_bce import binary_cross_entropies


def training_losses(
    logits: torch.Tensor, targets: torch.Tensor, config: OptimizeConfig, label_weights: torch.Tensor | None
) -> torch.Tensor:
    """Binary cross-entropies [n], means over the classes, of logits and labels (from 0 to 1), both [n, classes].

    A label that is there counts by `label_weights`, [classes].
    """
    return binary_cross_entropies(logits, targets.to(logits.dtype), label_weights)


def count(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The answers and the labels as they are."""
    return logits, labels
