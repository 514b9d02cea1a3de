"""SGD and AdamW in torch, and their state in neutral terms. Mirrors tf_optimizers."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from scenerec.checkpoint import Tensors
from scenerec.config.train import OptimizeConfig

SLOTS = {"sgd": ("momentum_buffer",), "adamw": ("exp_avg", "exp_avg_sq")}


def build_optimizer(
    config: OptimizeConfig, parameters: Mapping[str, nn.Parameter], lr_factors: Mapping[str, float]
) -> torch.optim.Optimizer:
    """torch's own SGD or AdamW, which multiplies the learning rate of each parameter by its factor.

    Parameters with fewer than two axes (biases, normalisation) do not decay.
    """
    members: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, p in parameters.items():
        decay = config.weight_decay if p.ndim >= 2 else 0.0
        members.setdefault((decay, lr_factors[name]), []).append(p)
    groups = [
        {"params": params, "weight_decay": decay, "lr_factor": factor} for (decay, factor), params in members.items()
    ]
    if config.optimizer == "sgd":
        nesterov = config.nesterov and config.momentum > 0
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=nesterov)
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """For the next step."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["lr_factor"]


def optimizer_state(
    optimizer: torch.optim.Optimizer, kind: str, parameters: Mapping[str, nn.Parameter]
) -> dict[str, Tensors]:
    """slot -> parameter name -> float32 array; zeros for what has not been stepped yet."""
    return {
        slot: {
            name: (optimizer.state[p][slot] if optimizer.state[p].get(slot) is not None else torch.zeros_like(p))
            .detach()
            .to("cpu", torch.float32, copy=True)
            .numpy()
            for name, p in parameters.items()
        }
        for slot in SLOTS[kind]
    }


def load_optimizer_state(
    optimizer: torch.optim.Optimizer,
    state: dict[str, Tensors],
    updates: int,
    parameters: Mapping[str, nn.Parameter],
) -> None:
    """Sets all slots, and the number of updates made, from which AdamW corrects its bias."""
    for name, p in parameters.items():
        slots = {slot: torch.from_numpy(np.array(tensors[name])).to(p.device) for slot, tensors in state.items()}
        optimizer.state[p].update(slots)
        if isinstance(optimizer, torch.optim.AdamW):
            optimizer.state[p]["step"] = torch.tensor(float(updates))
