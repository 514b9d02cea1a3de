"""Binary cross-entropy in torch: each class asked by itself. Mirrors tf_bce."""

import torch
import torch.nn.functional as F


def binary_cross_entropies(
    logits: torch.Tensor, targets: torch.Tensor, positive_weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Means over the classes of -w t log s(x) - (1 - t) log(1 - s(x)), [n], where s is the logistic function.

    Of logits x and targets t from 0 to 1, both [n, classes], and weights w [classes], by default 1; all of one dtype.
    (torch's BCEWithLogitsLoss calls w `pos_weight`.)
    """
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none", pos_weight=positive_weights).mean(
        dim=1
    )
