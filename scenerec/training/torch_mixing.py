"""Mixed images and their targets in torch. Mirrors tf_mixing."""

import torch
import torch.nn.functional as F

from scenerec.data.torch_input import Partners


def mixed_pixels(ours: torch.Tensor, theirs: torch.Tensor, partners: Partners) -> torch.Tensor:
    """Normalised pixels [n, 3, size, size] of a batch and of its partners, mixed on their device.

    Outside its rectangle an image has its opacity (mixup: Zhang et al. 2018, section 2); in it the partner alone is
    seen (CutMix: Yun et al. 2019, equation 1).
    """
    top, left, bottom, right = partners.mixes.boxes.to(ours.device).T[:, :, None]
    places = torch.arange(ours.shape[-1], device=ours.device)
    rows, columns = (top <= places) & (places < bottom), (left <= places) & (places < right)
    covered = rows[:, None, :, None] & columns[:, None, None, :]
    opacities = partners.mixes.opacities.to(ours.device, ours.dtype)[:, None, None, None]
    return torch.lerp(theirs, ours, torch.where(covered, 0.0, opacities))


def mixed_targets(labels: torch.Tensor, partners: Partners, classes: int, dtype: torch.dtype) -> torch.Tensor:
    """Shares of the classes, [n, classes], of mixed images: each has those of both of its labels, by what is seen.

    Labels are class indices, int64 [n], or what is there of each class, [n, classes].
    """
    ours, theirs = (
        (F.one_hot(each, classes) if each.ndim == 1 else each).to(dtype)
        for each in (labels, partners.labels.to(labels.device))
    )
    return torch.lerp(theirs, ours, partners.mixes.shares.to(labels.device, dtype)[:, None])


def mixed_weights(weights: torch.Tensor, labels: torch.Tensor, partners: Partners) -> torch.Tensor:
    """What the losses of mixed images count, [n], by the weights of the classes, [classes], of both of its labels."""
    ours, theirs = weights[labels], weights[partners.labels.to(labels.device)]
    return torch.lerp(theirs, ours, partners.mixes.shares.to(labels.device, weights.dtype))
