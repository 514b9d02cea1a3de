"""What the optimizers of both frameworks have in common: their slots, and which weights decay. Pure."""

from scenerec.config.optimize import OptimizeConfig

_LEAST_AXES = 2

SLOTS = {
    "sgd": ("momentum_buffer",),
    "adamw": ("exp_avg", "exp_avg_sq"),
    "lars": ("momentum_buffer",),
    "lamb": ("exp_avg", "exp_avg_sq"),
}
"""Names of the arrays that an optimizer keeps beside each weight, by the config's `optimizer`: torch's own names."""

COUNTING = ("adamw", "lamb")
"""Optimizers whose steps go by the number of steps so far."""


def weight_decay(config: OptimizeConfig, axes: int) -> float:
    """The decay of a weight with so many axes: none with fewer than two (biases, normalisation)."""
    return config.weight_decay if axes >= _LEAST_AXES else 0.0


def trusts(axes: int) -> bool:
    """Whether LARS and LAMB go by the length of a weight with so many axes: of those that decay."""
    return axes >= _LEAST_AXES
