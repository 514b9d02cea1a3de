"""Classification in torch: cross-entropy, and who ranked first or among the first five. Mirrors tf_classification."""

import torch
import torch.nn.functional as F

from scenerec.config.optimize import OptimizeConfig


def training_losses(logits: torch.Tensor, labels: torch.Tensor, config: OptimizeConfig) -> torch.Tensor:
    """Cross-entropies [n] with label smoothing (Szegedy et al. 2016, section 7), of logits [n, classes]."""
    return F.cross_entropy(logits, labels, reduction="none", label_smoothing=config.label_smoothing)


def count(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Sum of the cross-entropies, samples whose class ranked first, samples whose class was among the first five."""
    ranked = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
    return F.cross_entropy(logits, labels, reduction="sum"), ranked[:, 0].sum(), ranked.any(dim=1).sum()
