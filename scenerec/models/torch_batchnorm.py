"""BatchNorm's statistics of a batch in torch. Mirrors tf_batchnorm."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from scenerec.models.torch_freezing import is_frozen

Layers = dict[str, nn.BatchNorm2d]


def trained_layers(model: nn.Module) -> Layers:
    """BatchNorm by module path, but for what is frozen: that keeps its statistics."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d) and not is_frozen(module)
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
        layer.momentum = 1.0  # the running statistics are then the batch's, the variance unbiased
        hooks.append(layer.register_forward_hook(_counter(counts, name)))
    try:
        forward()
    finally:
        for name, layer in layers.items():
            layer.momentum = momenta[name]
        for hook in hooks:
            hook.remove()
    means = [layer.running_mean.double() for layer in layers.values()]
    variances = [layer.running_var.double() * (1 - 1 / counts[name]) for name, layer in layers.items()]
    return torch.stack([torch.cat(means), torch.cat(variances)]).cpu().numpy()


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
