"""Binary cross-entropy in torch: each class asked by itself. Mirrors tf_bce."""

import torch
import torch.nn.functional as F


def binary_cross_entropies(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Means over the classes of -t log s(x) - (1 - t) log(1 - s(x)), [n], where s is the logistic function.

    Of logits x and targets t from 0 to 1, both [n, classes] and of one dtype.
    """
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)
