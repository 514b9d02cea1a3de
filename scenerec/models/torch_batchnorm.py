"""BatchNorm's statistics of a batch in torch. Mirrors tf_batchnorm."""

from collections.abc import Callable

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from typing_extensions import override

from scenerec.models.torch_freezing import is_frozen

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d
Layers = dict[str, BatchNorm]


def trained_layers(model: nn.Module) -> Layers:
    """BatchNorm by module path, but for what is frozen: that keeps its statistics."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, BatchNorm) and not is_frozen(module)
    }


@torch.no_grad()
def measure(model: nn.Module, layers: Layers, forward: Callable[[], object]) -> np.ndarray:
    """Each layer's mean and biased variance over a batch, one layer after the other; float64 [2, channels].

    `forward` lets the batch through the model, in which `layers` then normalise by the batch, as in training, and all
    else does what it does in evaluation: dropout draws nothing. The layers' running statistics are lost.
    """
    counts: dict[str, int] = {}
    model.eval()
    momenta = {name: layer.momentum for name, layer in layers.items()}
    hooks = []
    for name, layer in layers.items():
        layer.train()
        layer.reset_running_stats()
        if isinstance(layer, JointBatchNorm):
            layer.alone = True
        layer.momentum = 1.0  # the running statistics are then the batch's, the variance unbiased
        hooks.append(layer.register_forward_hook(_counter(counts, name)))
    try:
        forward()
    finally:
        for name, layer in layers.items():
            layer.momentum = momenta[name]
            if isinstance(layer, JointBatchNorm):
                layer.alone = False
        for hook in hooks:
            hook.remove()
    means = [layer.running_mean.double() for layer in layers.values()]
    variances = [layer.running_var.double() * (1 - 1 / counts[name]) for name, layer in layers.items()]
    return torch.stack([torch.cat(means), torch.cat(variances)]).cpu().numpy()


class JointBatchNorm(nn.BatchNorm2d):
    """BatchNorm of images, sequences or vectors by the batches of all ranks, of one size, with gradients through them.

    torch's own SyncBatchNorm runs on GPUs alone.
    """

    alone = False
    """Whether it normalises by its own rank's batch for now."""

    @override
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        images = x[(..., *(None,) * (4 - x.ndim))]
        together = self.training and not self.alone
        return (self._normalise(images) if together else super().forward(images)).view_as(x)

    def _normalise(self, x: torch.Tensor) -> torch.Tensor:
        wide = x.to(self.running_mean.dtype)
        mine = torch.stack([wide.mean(dim=(0, 2, 3)), wide.var(dim=(0, 2, 3), correction=0)])
        means, variances = _OfAllRanks.apply(mine).unbind(1)
        mean = means.mean(dim=0)
        variance = (variances + (means - mean).square()).mean(dim=0)
        count = len(means) * wide.numel() / self.num_features
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            scale = scale * self.weight
        offset = (self.bias if self.affine else 0) - mean * scale
        return (wide * scale[:, None, None] + offset[:, None, None]).to(x.dtype)


class _OfAllRanks(torch.autograd.Function):
    """The ranks' tensors, stacked; the gradient of each is the sum of the ranks' gradients."""

    @staticmethod
    @override
    def forward(ctx: object, tensor: torch.Tensor) -> torch.Tensor:
        stacked = tensor.new_zeros((dist.get_world_size(), *tensor.shape))
        stacked[dist.get_rank()] = tensor
        dist.all_reduce(stacked)
        return stacked

    @staticmethod
    @override
    def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[dist.get_rank()]


def synchronise(model: nn.Module) -> None:
    """Lets all BatchNorm of a model normalise by the batches of all ranks when it is trained."""
    for module in model.modules():
        for name, layer in module.named_children():
            if isinstance(layer, BatchNorm):
                setattr(module, name, _joint(layer))


def _joint(layer: BatchNorm) -> JointBatchNorm:
    joint = JointBatchNorm(layer.num_features, layer.eps, layer.momentum, layer.affine)
    joint.load_state_dict(layer.state_dict())
    joint.train(layer.training)
    activation = getattr(layer, "act", None)
    if isinstance(activation, nn.Module):  # timm has both in one layer
        joint.register_forward_hook(lambda _, __, normalised: activation(normalised))
    return joint


def _counter(counts: dict[str, int], name: str) -> Callable[[nn.Module, object, torch.Tensor], None]:
    def count(_: nn.Module, __: object, output: torch.Tensor) -> None:
        counts[name] = output.numel() // output.shape[1]

    return count


def statistics(layers: Layers) -> dict[str, torch.Tensor]:
    """A copy of the running statistics by torch's names."""
    return {
        f"{name}.{kind}": getattr(layer, kind).clone()
        for name, layer in layers.items()
        for kind in ("running_mean", "running_var")
    }


@torch.no_grad()
def set_statistics(layers: Layers, statistics: np.ndarray) -> None:
    """Sets the running statistics to what `measure` would give, [2, channels]."""
    start = 0
    for layer in layers.values():
        mean, variance = torch.from_numpy(statistics[:, start : start + layer.num_features])
        layer.running_mean.copy_(mean)
        layer.running_var.copy_(variance)
        start += layer.num_features
