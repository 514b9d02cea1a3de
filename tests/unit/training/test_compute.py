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
from scenerec.models import torch_dropout, torch_recompute
from scenerec.models.torch_freezing import freeze, train_mode
from scenerec.training import tf_mechanics, torch_mechanics
from scenerec.training.run_folder import RunFolder
from scenerec.training.torch_compiler import check_compiler
from tests.local_run import LEARNERS, learned_by_step, train_here
from tests.matrix import keep

import tensorflow as tf  # isort: skip

MakeConfig = Callable[..., TrainConfig]
KEYS = torch.tensor([7, 8, 2**32 - 1, 1])


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
        check_compiler()


class Block(nn.Module):
    """With BatchNorm, and dropout that is called twice."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)
        self.drop = nn.Dropout(0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.drop(torch.relu(self.norm(self.drop(self.conv(x)))))


class Network(nn.Module):
    """Two blocks, the first of them frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.blocks, self.head = nn.Conv2d(3, 8, 3), nn.Sequential(Block(8), Block(8)), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x)).mean(dim=(2, 3)))


def learned(recomputes: bool, compiles: bool) -> dict[str, torch.Tensor]:
    """Logits, gradients and state after two passes in training."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        network = Network()
        images = torch.randn(len(KEYS), 3, 16, 16)
    freeze(network, [name for name, _ in network.named_parameters() if name.startswith("blocks.0.")])
    draws = torch_dropout.draw_by_sample(network)
    if recomputes:
        torch_recompute.recompute(network, ("blocks.0", "blocks.1"))
    train_mode(network)
    answer = torch.compile(network, dynamic=False, fullgraph=True) if compiles else network
    for _ in range(2):
        draws.begin(KEYS)
        logits = answer(images)
        logits.square().sum().backward()
    gradients = {f"gradient of {name}": p.grad for name, p in network.named_parameters() if p.grad is not None}
    return {"logits": logits.detach(), **gradients, **network.state_dict()}


def test_what_is_recomputed_leaves_one_trace() -> None:
    plain, recomputing = learned(False, False), learned(True, False)
    assert plain.keys() == recomputing.keys()
    for name, tensor in plain.items():
        assert torch.equal(tensor, recomputing[name]), name
    assert plain["blocks.1.norm.num_batches_tracked"] == 2 and plain["blocks.0.norm.num_batches_tracked"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("recomputes", [False, True])
def test_what_torch_compiles_is_one_graph_that_learns_the_same(recomputes: bool) -> None:
    plain, compiled = learned(False, False), learned(recomputes, True)
    assert plain.keys() == compiled.keys()
    for name, tensor in plain.items():
        torch.testing.assert_close(tensor, compiled[name], rtol=1e-4, atol=1e-5, msg=name)


SETTINGS: dict[str, Any] = {
    "data": {"augment": {"color_jitter": 0.4}},
    "model": {"arch": "mobilenet_v3_small", "freeze": ["features.2"]},  # with BatchNorm and dropout
    "optimize": {"ema_decay": 0.9, "accumulate_steps": 2, "optimizer": "adamw", "lr": 0.002},
}


def last_state(config: TrainConfig) -> LearnerState:
    folder = RunFolder(config.run_url).checkpoints
    return load_checkpoint(folder, list_checkpoints(folder)[-1]).learner


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
        *zip(ours.optimizer.values(), theirs.optimizer.values(), strict=True),
    ):
        assert one.keys() == other.keys()
        assert all(np.array_equal(array, other[name]) for name, array in one.items())
