"""Classification in torch: the loss, and who ranked first or among the first five. Mirrors tf_classification."""

import torch
import torch.nn.functional as F

from scenerec.config.optimize import OptimizeConfig
from scenerec.training.torch_bce import binary_cross_entropies


def training_losses(
    logits: torch.Tensor, targets: torch.Tensor, config: OptimizeConfig, label_weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Losses [n] by `config.loss`, of logits [n, classes] and classes int64 [n], or of shares of them [n, classes].

    Cross-entropies with label smoothing (Szegedy et al. 2016, section 7); or binary ones (Wightman, Touvron and Jégou
    2021, section 3), whose targets are smoothed likewise, and then 1 above `config.bce_threshold` and 0 elsewhere.
    `label_weights` are None: images are weighed here, and the learner does it.
    """
    if config.loss == "cross_entropy":
        return F.cross_entropy(logits, targets, reduction="none", label_smoothing=config.label_smoothing)
    return binary_cross_entropies(logits, _binary_targets(logits, targets, config))


def _binary_targets(logits: torch.Tensor, targets: torch.Tensor, config: OptimizeConfig) -> torch.Tensor:
    classes, smoothing = logits.shape[1], config.label_smoothing
    shares = F.one_hot(targets, classes).to(logits.dtype) if targets.ndim == 1 else targets
    shares = shares * (1 - smoothing) + smoothing / classes
    return shares if config.bce_threshold is None else (shares > config.bce_threshold).to(logits.dtype)


def count(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Sum of the cross-entropies, samples whose class ranked first, samples whose class was among the first five."""
    ranked = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
    return F.cross_entropy(logits, labels, reduction="sum"), ranked[:, 0].sum(), ranked.any(dim=1).sum()
