"""Two processes with shares of different size: losses and gradients of contrastive learning are those of one.

Each process is a rank of gloo and of MultiWorkerMirroredStrategy, one after the other.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cluster.loopback import free_ports
from scenerec.training import torch_contrastive
from tests.patience import PATIENCE_S

SHARES = ((0, 3), (3, 5))
"""The samples of each rank."""
LOSSES = ("nt_xent", "symmetric_info_nce")
FRAMEWORKS = ("torch", "tensorflow")
TEMPERATURE = 0.2

WORKER = f"""
import sys
import numpy as np
import torch
from jobs.torch_trainer import connect
from scenerec.training import torch_contrastive, tf_contrastive
from scenerec.training.tf_ranks import strategy_of_ranks
import tensorflow as tf

rank, port, file = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
first, last = {SHARES}[rank]
arrays = np.random.default_rng(0).normal(size=(4, 5, 8)).astype("float32")[:, first:last]
found = {{}}

connect("gloo", "127.0.0.1", port, "127.0.0.1", rank, {len(SHARES)})
for name in {LOSSES}:
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays[:2 if name == "nt_xent" else 4]]
    losses = getattr(torch_contrastive, name)(*tensors, {TEMPERATURE}, torch_contrastive.gather)
    losses.sum().backward()
    found[f"torch {{name}}"] = losses.detach().numpy()
    found[f"torch {{name}} gradients"] = np.stack([tensor.grad.numpy() for tensor in tensors[:2]])

strategy = strategy_of_ranks({len(SHARES)})

@tf.function(autograph=False)
def step(name, tensors):
    def replica(tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors[:2])
            losses = getattr(tf_contrastive, name)(*tensors, {TEMPERATURE}, tf_contrastive.gather)
        return losses, tape.gradient(losses, tensors[:2])
    return strategy.run(replica, args=(tensors,))

for name in {LOSSES}:
    losses, gradients = step(name, [tf.constant(array) for array in arrays[:2 if name == "nt_xent" else 4]])
    found[f"tensorflow {{name}}"] = losses.numpy()
    found[f"tensorflow {{name}} gradients"] = np.stack([gradient.numpy() for gradient in gradients])
np.savez(file, **found)
"""


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, np.ndarray]]:
    """What each rank saw; see WORKER."""
    folder = tmp_path_factory.mktemp("ranks")
    store, *ports = free_ports(("store", *map(str, range(len(SHARES))))).values()
    processes = []
    for rank in range(len(SHARES)):
        workers = [f"127.0.0.1:{port}" for port in ports]
        task = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": rank}}
        env = {"TF_CONFIG": json.dumps(task), "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", WORKER, str(rank), str(store), str(folder / f"{rank}.npz")]
        processes.append(subprocess.Popen(command, env={**os.environ, **env}))
    try:
        assert [process.wait(timeout=2 * PATIENCE_S) for process in processes] == [0] * len(SHARES)
    finally:
        for process in processes:
            process.kill()
    return [dict(np.load(folder / f"{rank}.npz")) for rank in range(len(SHARES))]


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", LOSSES)
def test_two_ranks_have_the_losses_and_gradients_of_one(
    ranks: list[dict[str, np.ndarray]], framework: str, name: str
) -> None:
    arrays = np.random.default_rng(0).normal(size=(4, 5, 8))[: 2 if name == "nt_xent" else 4]
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    losses = getattr(torch_contrastive, name)(*tensors, TEMPERATURE, torch_contrastive.gather)
    losses.sum().backward()
    found = np.concatenate([rank[f"{framework} {name}"] for rank in ranks])
    np.testing.assert_allclose(found, losses.detach(), rtol=1e-5)
    gradients = np.concatenate([rank[f"{framework} {name} gradients"] for rank in ranks], axis=1)
    for ours, tensor in zip(gradients, tensors[:2], strict=True):
        assert tensor.grad is not None
        np.testing.assert_allclose(ours, tensor.grad, rtol=1e-4, atol=1e-6)
