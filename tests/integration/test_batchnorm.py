"""BatchNorm's statistics in runs that are short for its momentum: what they are worth, and what they leave alone."""

from collections.abc import Callable

import numpy as np

from scenerec.checkpoint import LearnerState, list_checkpoints, load_checkpoint
from scenerec.config.train import TrainConfig
from scenerec.training.run_folder import RunFolder
from tests.local_run import train_here


def last_state(config: TrainConfig) -> LearnerState:
    checkpoints = RunFolder(config.run_url).checkpoints
    return load_checkpoint(checkpoints, list_checkpoints(checkpoints)[-1]).learner


def test_a_slow_momentum_costs_no_accuracy(make_config: Callable[..., TrainConfig]) -> None:
    """By its running averages, which are nearly the initial ones, a MobileNetV3 guesses; the weights are the same."""
    found = {}
    for estimate in ("auto", "never"):
        config = make_config(
            name=estimate,
            model={"arch": "mobilenet_v3_small"},
            optimize={"epochs": 8, "optimizer": "adamw", "lr": 0.003, "precise_batchnorm": estimate},
        )
        found[estimate] = train_here(config)["best"]["val_top1"], last_state(config)
    (ours, precise), (theirs, running) = found.values()
    assert ours > 0.6
    assert theirs <= 0.3  # of four classes
    differing = {name for name in precise.model if not np.array_equal(precise.model[name], running.model[name])}
    assert differing == {name for name in precise.model if name.endswith(("running_mean", "running_var"))}
    for slot, tensors in precise.optimizer.items():
        assert all(np.array_equal(array, running.optimizer[slot][name]) for name, array in tensors.items())
