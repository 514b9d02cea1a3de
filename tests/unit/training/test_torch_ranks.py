"""A rank of torch starts without torch's compiler."""

import subprocess
import sys

import pytest

from tests.patience import PATIENCE_S

PROGRAM = """
import sys
from scenerec.large_imports import large_imports

with large_imports():
    from scenerec.training import torch_learner, torch_pretrain_learner

import torch
from torch import nn
from scenerec.config.optimize import OptimizeConfig
from scenerec.training.torch_optimizers import Optimizer
from scenerec.training.torch_ranks import mean_of_ranks

def learn(network):
    network.zero_grad()
    (network(torch.ones(2, 3)) ** 2).sum().backward()
    return [p.grad.clone() for p in network.parameters()]

store = torch.distributed.HashStore()
torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
torch.manual_seed(0)
network = nn.Linear(3, 2)
weights = dict(network.named_parameters())
for name in ("sgd", "adamw", "lars", "lamb"):
    config = OptimizeConfig(epochs=1, global_batch_size=2, optimizer=name, lr=0.1)
    optimizer = Optimizer(config, weights, dict.fromkeys(weights, 1.0))
    assert all(map(torch.equal, learn(network), learn(mean_of_ranks(network))))
    before = network.weight.clone()
    assert optimizer.update(0.1, torch.amp.GradScaler("cpu", enabled=False))
    assert not torch.equal(before, network.weight) and network.weight.grad is None
assert "torch._dynamo" not in sys.modules

compiled = torch.compile(mean_of_ranks(network, is_compiled=True), backend="eager")
assert all(map(torch.equal, learn(compiled), learn(mean_of_ranks(network))))
assert torch._dynamo.utils.get_optimize_ddp_mode() == "ddp_optimizer"
"""


@pytest.mark.slow
def test_the_first_steps_load_no_compiler_and_what_is_compiled_does() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
