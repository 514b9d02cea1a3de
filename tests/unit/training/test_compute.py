"""What `compute` of a config makes of a training, on the CPU: the same, or the same but for rounding."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from scenerec.checkpoint import LearnerState, list_checkpoints, load_checkpoint
from scenerec.config.compute import ComputeConfig
from scenerec.config.train import TrainConfig
from scenerec.errors import ClusterError
from scenerec.training import tf_mechanics, torch_mechanics
from scenerec.training.run_folder import RunFolder
from scenerec.training.torch_compiler import compiled
from tests.local_run import LEARNERS, learned_by_step, train_here
from tests.matrix import keep

import tensorflow as tf  # isort: skip

MakeConfig = Callable[..., TrainConfig]


@pytest.fixture
def kernels() -> Iterator[None]:
    """Puts back what is of the whole process."""
    yield
    for mechanics in (torch_mechanics, tf_mechanics):
        mechanics.use_kernels(ComputeConfig())


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("chosen", [False, True])
def test_both_frameworks_choose_kernels_alike(chosen: bool) -> None:
    config = ComputeConfig(tf32=chosen, cudnn_benchmark=chosen)
    torch_mechanics.use_kernels(config)
    tf_mechanics.use_kernels(config)
    assert torch.backends.cuda.matmul.allow_tf32 is torch.backends.cudnn.allow_tf32 is chosen
    assert tf.config.experimental.tensor_float_32_execution_enabled() is chosen
    assert torch.backends.cudnn.benchmark is chosen
    assert os.environ["TF_CUDNN_USE_AUTOTUNE"] == str(int(chosen))


def test_a_machine_without_a_compiler_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match=r"compute\.compile: torch compiles by g\+\+, and .* has none: install it"):
        compiled(nn.Identity())


SETTINGS: dict[str, Any] = {
    "data": {"augment": {"color_jitter": 0.4}},
    "model": {"arch": "mobilenet_v3_small", "freeze": ["features.2"]},  # with BatchNorm and dropout
    "optimize": {"ema_decay": 0.9, "accumulate_steps": 2, "optimizer": "adamw", "lr": 0.002},
}


def last_state(config: TrainConfig) -> LearnerState:
    folder = RunFolder(config.run_url).checkpoints
    return load_checkpoint(folder, list_checkpoints(folder)[-1]).learner


@pytest.mark.slow
@pytest.mark.matrix
@pytest.mark.parametrize("recomputes", [False, True])
@pytest.mark.parametrize("framework", LEARNERS)
def test_a_compiled_run_learns_the_same_but_for_rounding(
    make_config: MakeConfig, framework: str, recomputes: bool
) -> None:
    """A network with dropout and without BatchNorm, which would make much of little."""
    losses = []
    for name, keys in (("plain", {}), ("compiled", {"compile": True, "recompute_activations": recomputes})):
        config = make_config(framework=framework, name=name, compute=keys, model={"arch": "squeezenet1_1"})
        train_here(config)
        losses.append([line[3] for line in learned_by_step(config.run_url)])
    plain, keyed = losses
    np.testing.assert_allclose(plain, keyed, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("framework", keep({"torch"}, LEARNERS))
def test_a_run_that_recomputes_has_the_same_history(make_config: MakeConfig, framework: str) -> None:
    configs = [
        make_config(framework=framework, name=name, compute={"recompute_activations": recomputes}, **SETTINGS)
        for name, recomputes in (("plain", False), ("recomputing", True))
    ]
    for config in configs:
        train_here(config)
    plain, recomputing = configs
    assert learned_by_step(plain.run_url) == learned_by_step(recomputing.run_url)
    ours, theirs = last_state(plain), last_state(recomputing)
    for one, other in (
        (ours.model, theirs.model),
        (ours.ema, theirs.ema),
        *((slots, theirs.optimizer[slot]) for slot, slots in ours.optimizer.items()),
    ):
        assert one.keys() == other.keys()
        assert all(np.array_equal(array, other[name]) for name, array in one.items())
