"""Freezing in torch: no gradient, and BatchNorm that keeps its statistics. Mirrors tf_freezing."""

from collections.abc import Collection

from torch import nn


def freeze(model: nn.Module, names: Collection[str]) -> None:
    """Let the parameters `names` need no gradient: no backward pass runs through what lies before them alone."""
    for name, parameter in model.named_parameters():
        if name in names:
            parameter.requires_grad_(False)


def is_frozen(module: nn.Module) -> bool:
    """Whether a module has parameters, and none is trained."""
    wanted = [parameter.requires_grad for parameter in module.parameters()]
    return bool(wanted) and not any(wanted)


def train_mode(model: nn.Module) -> None:
    """Training mode, but for BatchNorm that is frozen: it normalises by its running statistics and keeps them."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and is_frozen(module):
            module.eval()
