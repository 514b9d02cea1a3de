"""Two TensorFlow processes under MultiWorkerMirroredStrategy: what each rank trains, keeps and reads, and waits for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cluster.loopback import free_ports
from tests.patience import PATIENCE_S

WORLD_SIZE = 2
STEPS = 2
SILENCE_S = 15
"""Of rank 1 before the last step; TensorFlow gives a rank up after 10 s by itself."""


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, np.ndarray]]:
    """What each rank saw; see WORKER."""
    folder = tmp_path_factory.mktemp("ranks")
    workers = [f"127.0.0.1:{port}" for port in free_ports(tuple(map(str, range(WORLD_SIZE)))).values()]
    processes = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(folder / f"{rank}.npz")], env=worker_env(workers, rank))
        for rank in range(WORLD_SIZE)
    ]
    try:
        assert [process.wait(timeout=2 * PATIENCE_S) for process in processes] == [0] * WORLD_SIZE
    finally:
        for process in processes:
            process.kill()
    return [dict(np.load(folder / f"{rank}.npz")) for rank in range(WORLD_SIZE)]


def worker_env(workers: list[str], rank: int) -> dict[str, str]:
    task = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": rank}}
    root = str(Path(__file__).parents[2])
    return {**os.environ, "TF_CONFIG": json.dumps(task), "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}


WORKER = f"""
import os, signal, subprocess, sys
from scenerec.large_imports import large_imports
with large_imports():
    from scenerec.models import tf_model
from scenerec.models.keras_twin.layers import Dropout
from scenerec.training.tf_ranks import strategy_of_ranks
import keras
import numpy as np
import tensorflow as tf

strategy = strategy_of_ranks({WORLD_SIZE})
rank = strategy.cluster_resolver.task_id
with strategy.scope():
    model = tf_model.build("resnet18", 5, 32, seed=0)
    dropout = Dropout(0.5)
    dropout.build([4, 64])
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)
statistics = next(b for b in tf_model.bindings(model) if b.key == "bn1.running_mean")
rng = np.random.default_rng(rank)
images, labels = rng.normal(size=(4, 32, 32, 3)).astype("float32"), rng.integers(0, 5, 4)
data = tf.data.Dataset.from_tensors((images, labels)).repeat()
batches = iter(strategy.distribute_datasets_from_function(lambda context: data))

def step(images, labels):
    with tf.GradientTape() as tape:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, model(images, training=True))
        loss = tf.reduce_sum(losses) / 8
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    return loss, dropout(tf.ones([4, 64]), training=True)

@tf.function(autograph=False)
def distributed_step(images, labels):
    return strategy.run(step, args=(images, labels))

initial = statistics.variable.numpy()
for number in range({STEPS}):
    if (rank, number) == (1, {STEPS} - 1):
        subprocess.Popen(["sh", "-c", f"sleep {SILENCE_S}; kill -CONT {{os.getpid()}}"])
        os.kill(os.getpid(), signal.SIGSTOP)
    loss, mask = distributed_step(*next(batches))
trained = tf_model.state(model)
if rank == 0:
    tf_model.state(model)  # one rank alone may read: no collective, no hang
tf_model.load_state(model, {{**trained, statistics.key: np.full_like(initial, 7.0 + rank)}})
loaded = statistics.variable.numpy()
np.savez(sys.argv[1], weight=trained["fc.weight"], running=trained[statistics.key],
         kernel=trained["conv1.weight"], loaded=loaded, mask=mask)
"""


def test_ranks_train_the_same_weights_though_one_was_silent_for_a_while(ranks: list[dict[str, np.ndarray]]):
    assert np.array_equal(ranks[0]["weight"], ranks[1]["weight"])
    assert np.array_equal(ranks[0]["kernel"], ranks[1]["kernel"])


def test_each_rank_keeps_statistics_of_its_own_batches(ranks: list[dict[str, np.ndarray]]):
    assert not np.allclose(ranks[0]["running"], ranks[1]["running"], rtol=1e-3)
    assert all(np.abs(rank["running"]).max() > 0 for rank in ranks)


def test_loading_sets_the_ranks_own_copy_alone(ranks: list[dict[str, np.ndarray]]):
    assert [np.unique(rank["loaded"]).tolist() for rank in ranks] == [[7.0], [8.0]]


def test_ranks_drop_different_elements(ranks: list[dict[str, np.ndarray]]):
    assert not np.array_equal(ranks[0]["mask"], ranks[1]["mask"])
    assert all({0.0} < set(np.unique(rank["mask"])) for rank in ranks)
