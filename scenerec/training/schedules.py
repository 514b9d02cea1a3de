"""Learning-rate schedules: pure functions from the step of a run to the learning rate, the same for both frameworks."""

import math
from dataclasses import dataclass

from scenerec.config.optimize import OptimizeConfig
from scenerec.config.pretrain import MethodConfig

_LITTLE = 0.01  # of a momentum encoder's first weights
_MOST_GIVEN_UP = 0.1  # of its weights at a step


@dataclass(frozen=True)
class PlateauState:
    """What reduce-on-plateau remembers; the one schedule that looks at results. Starts as PlateauState()."""

    factor: float = 1.0
    """Product of the reductions so far."""
    best_loss: float = math.inf
    """The lowest val_loss so far."""
    bad_epochs: int = 0
    """Epochs since then, or since the last reduction."""

    def after_epoch(self, val_loss: float, config: OptimizeConfig) -> "PlateauState":
        """The state after an epoch that ended with `val_loss`: torch's ReduceLROnPlateau with threshold 0."""
        if val_loss < self.best_loss:
            return PlateauState(self.factor, val_loss, 0)
        if self.bad_epochs < config.plateau_patience:
            return PlateauState(self.factor, self.best_loss, self.bad_epochs + 1)
        return PlateauState(self.factor * config.plateau_factor, self.best_loss, 0)


def learning_rate(
    step: int, steps_per_epoch: int, config: OptimizeConfig, plateau: PlateauState = PlateauState()
) -> float:
    """Learning rate of optimizer step `step` (from 0) of the run.

    Warm-up is linear and reaches lr at its last step (Goyal et al. 2017, section 2.2). Half cosines follow Loshchilov
    and Hutter 2017, eq. 5: `cosine` is one from the end of the warm-up to the end of the run, `restarts` is several.
    """
    warmup_steps = round(config.warmup_epochs * steps_per_epoch)
    if step < warmup_steps:
        return config.lr * (step + 1) / warmup_steps
    match config.schedule:
        case "cosine":
            decay_steps = max(config.epochs * steps_per_epoch - warmup_steps, 1)
            return _half_cosine(config, min((step - warmup_steps) / decay_steps, 1.0))
        case "restarts":
            return _half_cosine(config, _restarted((step - warmup_steps) / steps_per_epoch, config))
        case "step":
            passed = sum(step >= epoch * steps_per_epoch for epoch in config.step_epochs)
            return config.lr * config.step_gamma**passed
        case "plateau":
            return max(config.lr * plateau.factor, config.min_lr)
        case "constant":
            return config.lr


def _half_cosine(config: OptimizeConfig, progress: float) -> float:
    """From lr at 0 to min_lr at 1."""
    return config.min_lr + (config.lr - config.min_lr) * 0.5 * (1 + math.cos(math.pi * progress))


def _restarted(epochs: float, config: OptimizeConfig) -> float:
    """How far the half cosine is in which the time after the warm-up lies, from 0 to below 1."""
    length = config.restart_epochs
    while epochs >= length:
        epochs -= length
        length *= config.restart_factor
    return epochs / length


def encoder_momentum(step: int, total_steps: int, first: float) -> float:
    """Momentum of a momentum encoder at optimizer step `step` (from 0) of the run: from `first` to 1 by half a cosine.

    MoCo v3 (Chen, Xie, He 2021, section 4), after BYOL (Grill et al. 2020, section 3.2).
    """
    return 1 - (1 - first) * (1 + math.cos(math.pi * min(step / total_steps, 1))) / 2


def share_of_first_weights(method: MethodConfig, total_steps: int) -> float:
    """What a momentum encoder still has of its first weights after a run of `total_steps`: the product of its momenta.

    0 of a method without one.
    """
    if method.momentum is None:
        return 0.0
    if method.momentum_schedule != "cosine":
        return method.momentum**total_steps
    return math.prod(encoder_momentum(step, total_steps, method.momentum) for step in range(total_steps))


def fitting_momentum(method: MethodConfig, total_steps: int) -> float:
    """A momentum, to one digit of what it gives up at a step, with which about 1 % of the first weights remains.

    A half cosine to 1 gives up half as much as one that is constant. It is never below 0.9: a shorter run is too short.
    """
    given_up = -math.log(_LITTLE) / total_steps * (2 if method.momentum_schedule == "cosine" else 1)
    return 1 - min(float(f"{given_up:.0e}"), _MOST_GIVEN_UP)
