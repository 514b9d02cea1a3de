"""SGD, AdamW, LARS and LAMB in torch, and their state in neutral terms. Mirrors tf_optimizers."""

from collections.abc import Callable, Iterable, Mapping
from inspect import unwrap
from typing import Any

import numpy as np
import torch
from torch import nn
from typing_extensions import override

from scenerec.checkpoint import Tensors
from scenerec.config.optimize import OptimizeConfig
from scenerec.training.update_rule import COUNTING, SLOTS, trusts, weight_decay


class Optimizer:
    """SGD, AdamW, LARS or LAMB over named weights, with a learning rate for each: the given one times its factor.

    Weights with fewer than two axes (biases, normalisation) do not decay. With `fused`, SGD and AdamW update all of
    them in one kernel.
    """

    def __init__(
        self,
        config: OptimizeConfig,
        weights: Mapping[str, nn.Parameter],
        lr_factors: Mapping[str, float],
        fused: bool = False,
    ) -> None:
        self.config = config
        self.weights = weights
        self.fused = fused
        self.rule = _build(config, weights, lr_factors, fused)
        """The optimizer of torch.optim; a GradScaler unscales its gradients."""
        if fused and config.optimizer == "sgd" and config.momentum:
            # By itself torch makes them in the first step, and leaves them unfilled where that one overflows.
            for p in weights.values():
                self.rule.state[p]["momentum_buffer"] = torch.zeros_like(p)
        self.updates = 0

    def update(self, learning_rate: float, scaler: torch.amp.GradScaler) -> bool:
        """One step with the gradients that backward passes have left, which it clears.

        Returns False where fp16 has overflowed: the step has then changed nothing but the loss scale.
        """
        for group in self.rule.param_groups:
            group["lr"] = learning_rate * group["lr_factor"]
        scale = scaler.get_scale()
        scaler.step(self.rule)
        scaler.update()
        self.rule.zero_grad()
        if scaler.get_scale() < scale:
            return False
        self.updates += 1
        return True

    def state(self) -> dict[str, Tensors]:
        """slot -> parameter name -> float32 array in torch's layout; zeros for what has not been stepped yet."""
        return {
            slot: {
                name: self._slot(slot, p).to("cpu", torch.float32, copy=True).numpy()
                for name, p in self.weights.items()
            }
            for slot in SLOTS[self.config.optimizer]
        }

    def load_state(self, state: Mapping[str, Tensors], updates: int) -> None:
        """Sets all slots, and the number of updates made, from which AdamW and LAMB correct their bias."""
        for name, p in self.weights.items():
            # Stored as the weight is: a fused kernel goes by places in memory, and sums of lengths by their order.
            self.rule.state[p].update(
                {
                    slot: torch.empty_like(p).copy_(torch.from_numpy(np.array(kept[name])))
                    for slot, kept in state.items()
                }
            )
            if self.config.optimizer in COUNTING:
                # A fused kernel reads it where the weight is.
                self.rule.state[p]["step"] = torch.tensor(float(updates), device=p.device if self.fused else None)
        self.updates = updates

    def _slot(self, slot: str, p: nn.Parameter) -> torch.Tensor:
        kept = self.rule.state[p].get(slot)
        return (torch.zeros_like(p) if kept is None else kept).detach()


class _Uncompiled(torch.optim.Optimizer):
    """Loads no compiler: torch wraps these methods in what imports torch._dynamo, a second of each worker's start."""

    add_param_group = unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = unwrap(torch.optim.Optimizer.zero_grad)


class _Sgd(_Uncompiled, torch.optim.SGD):
    step = torch.no_grad()(unwrap(torch.optim.SGD.step))


class _AdamW(_Uncompiled, torch.optim.AdamW):
    step = torch.no_grad()(unwrap(torch.optim.AdamW.step))


class Lars(_Uncompiled):
    """Layer-wise adaptive rate scaling (You, Gitman, Ginsburg 2017, algorithm 1), as SimCLR and MoCo v3 use it.

    A weight's gradient, with coupled decay, is scaled to `trust_coefficient` times the length of the weight (L2; as it
    is where either is 0), and then makes momentum as in torch's SGD: the learning rate multiplies last. Weights with
    fewer than two axes (biases, normalisation) keep their gradients' length.
    """

    def __init__(self, params: Iterable[Any], lr: float, momentum: float, trust_coefficient: float) -> None:
        defaults = {"lr": lr, "momentum": momentum, "trust_coefficient": trust_coefficient, "weight_decay": 0.0}
        super().__init__(params, defaults)

    @torch.no_grad()
    @override
    def step(self, closure: Callable[[], float] | None = None) -> None:
        """One step with the gradients that are there."""
        assert closure is None
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                gradient = p.grad
                if trusts(p.ndim):
                    gradient = gradient.add(p, alpha=group["weight_decay"])
                    length, gradient_length = p.norm(), gradient.norm()
                    trust = group["trust_coefficient"] * length / gradient_length
                    gradient = gradient * torch.where((length > 0) & (gradient_length > 0), trust, 1.0)
                if "momentum_buffer" not in self.state[p]:
                    self.state[p]["momentum_buffer"] = torch.zeros_like(p)
                buffer = self.state[p]["momentum_buffer"].mul_(group["momentum"]).add_(gradient)
                p.add_(buffer, alpha=-group["lr"])


class Lamb(_Uncompiled):
    """Layer-wise adaptive moments (You et al. 2020, algorithm 2), as timm's and NVIDIA's programs have it.

    Adam's step, both moments corrected for their bias, with decoupled decay, is scaled to the length of the weight (L2;
    as it is where either is 0), or with `trust_clip` shortened at most. Weights with fewer than two axes (biases,
    normalisation) make Adam's step.
    """

    def __init__(
        self, params: Iterable[Any], lr: float, betas: tuple[float, float], eps: float, trust_clip: bool
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "trust_clip": trust_clip, "weight_decay": 0.0}
        super().__init__(params, defaults)

    @torch.no_grad()
    @override
    def step(self, closure: Callable[[], float] | None = None) -> None:
        """One step with the gradients that are there."""
        assert closure is None
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if "step" not in state:
                    state |= {
                        "step": torch.tensor(0.0),
                        "exp_avg": torch.zeros_like(p),
                        "exp_avg_sq": torch.zeros_like(p),
                    }
                count = float(state["step"].add_(1))
                first = state["exp_avg"].lerp_(p.grad, 1 - beta1)
                second = state["exp_avg_sq"].mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
                denominator = (second / (1 - beta2**count)).sqrt_().add_(group["eps"])
                change = (first / (1 - beta1**count)).div_(denominator)
                if trusts(p.ndim):
                    change.add_(p, alpha=group["weight_decay"])
                    length, change_length = p.norm(), change.norm()
                    trust = torch.where((length > 0) & (change_length > 0), length / change_length, 1.0)
                    change.mul_(trust.clamp(max=1.0) if group["trust_clip"] else trust)
                p.add_(change, alpha=-group["lr"])


def clip_by_global_norm(weights: Mapping[str, nn.Parameter], largest: float) -> None:
    """Scales the weights' gradients by largest / (norm + 1e-6) where that is below 1; the norm is over all of them."""
    nn.utils.clip_grad_norm_(weights.values(), largest)


def _build(
    config: OptimizeConfig, weights: Mapping[str, nn.Parameter], lr_factors: Mapping[str, float], fused: bool
) -> torch.optim.Optimizer:
    members: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, p in weights.items():
        members.setdefault((weight_decay(config, p.ndim), lr_factors[name]), []).append(p)
    groups = [
        {"params": params, "weight_decay": decay, "lr_factor": factor} for (decay, factor), params in members.items()
    ]
    if config.optimizer == "sgd":
        nesterov = config.nesterov and config.momentum > 0
        return _Sgd(groups, lr=config.lr, momentum=config.momentum, nesterov=nesterov, fused=fused)
    if config.optimizer == "lars":
        return Lars(groups, config.lr, config.momentum, config.trust_coefficient)
    if config.optimizer == "lamb":
        return Lamb(groups, config.lr, config.betas, config.eps, config.trust_clip)
    return _AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=fused)
