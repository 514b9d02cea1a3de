"""Both frameworks on a GPU; skipped where there is none."""

from typing import Any

import numpy as np
import pytest
import torch

from scenerec.config.compute import ComputeConfig
from scenerec.config.train import TrainConfig
from scenerec.data.stream import Cursor
from scenerec.training.learner import Learner
from scenerec.training.loop import train
from scenerec.world import World
from tests.local_run import LEARNERS, learned_by_step, open_job

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU and its driver"),
]

GPU = World(device="cuda:0")
KEYS = tuple(ComputeConfig.model_fields)
LOOSE = {"tf32": 2e-2}
"""Relative differences of the first losses that rounding may make; 1e-3 of others."""


def make_learner(config: TrainConfig, world: World) -> Learner[Any]:
    if config.framework == "tensorflow":
        from scenerec.training import tf_learner

        tf_learner.use_threads(2)
    return LEARNERS[config.framework](open_job(config), world)


def train_on(world: World, config: TrainConfig) -> dict[str, Any]:
    return train(open_job(config), world, make_learner(config, world), lambda event: None, lambda metrics: None)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_a_run_trains_on_the_gpu(make_config: Any, framework: str, precision: str) -> None:
    config = make_config(framework=framework, optimize={"precision": precision, "epochs": 4, "lr": 0.01})
    assert train_on(GPU, config)["last"]["train_loss"] < 1.2


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_each_key_learns_the_same_but_for_rounding(make_config: Any, framework: str, key: str) -> None:
    """The first steps: after more of them a network drifts from itself."""
    losses = []
    for name, keys in (("plain", {}), ("keyed", {key: True})):
        config = make_config(
            framework=framework,
            name=name,
            model={"arch": "squeezenet1_1"},
            optimize={"epochs": 1, "lr": 1e-3, "optimizer": "adamw"},
            track={"every_steps": 1},
            scale={"gpus_per_worker": 1},
            compute=keys,
        )
        train_on(GPU, config)
        losses.append([line[3] for line in learned_by_step(config.run_url)])
    np.testing.assert_allclose(*losses, rtol=LOOSE.get(key, 1e-3))


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_a_fused_or_plain_state_goes_on_in_the_other(make_config: Any, framework: str) -> None:
    """A fused kernel reads the number of steps where the weights are."""
    for first, second in ((True, False), (False, True)):
        config = make_config(
            framework=framework,
            name=f"from-{first}".lower(),
            optimize={"epochs": 1, "lr": 1e-3, "optimizer": "adamw"},
            compute={"fused_optimizer": first},
        )
        train_on(GPU, config)
        changes = {
            "optimize": config.optimize.model_copy(update={"epochs": 2}),
            "compute": ComputeConfig(fused_optimizer=second),
        }
        assert train_on(GPU, config.model_copy(update=changes))["last"]["epoch"] == 2


def test_copies_to_the_gpu_are_whole_while_it_computes(make_config: Any) -> None:
    """Each batch is copied in another stream than that which still multiplies for the one before."""
    learner: Any = make_learner(make_config(), GPU)
    busy = torch.randn(4096, 4096, device=GPU.device)
    arrived, sent = [], []
    for number, batch in enumerate(learner.training_batches(Cursor())):
        busy = busy @ busy / busy.norm()
        arrived.append(learner._on_device(batch.images) + 0)
        sent.append(batch.images.clone())
        if number == 7:
            break
    for ours, theirs in zip(arrived, sent, strict=True):
        assert torch.equal(ours.cpu(), theirs)


def test_tensorflow_has_its_batches_on_the_gpu(make_config: Any) -> None:
    learner = make_learner(make_config(framework="tensorflow"), GPU)
    batch = next(iter(learner.training_batches(Cursor())))
    assert batch.images.device.endswith("GPU:0") and batch.labels.device.endswith("GPU:0")


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_recomputed_activations_take_less_memory(make_config: Any, framework: str) -> None:
    peaks = []
    for recomputes in (False, True):
        config = make_config(
            framework=framework,
            data={"image_size": 224},
            optimize={"global_batch_size": 64},
            compute={"recompute_activations": recomputes},
        )
        learner = make_learner(config, GPU)
        batch = next(iter(learner.training_batches(Cursor())))
        _reset_peak(framework)
        learner.train_step(batch, 1e-3)
        learner.take_loss()
        peaks.append(_peak_bytes(framework))
        del learner
    assert peaks[1] < 0.8 * peaks[0]


def _reset_peak(framework: str) -> None:
    if framework == "torch":
        torch.cuda.reset_peak_memory_stats()
        return
    import tensorflow as tf

    tf.config.experimental.reset_memory_stats("GPU:0")


def _peak_bytes(framework: str) -> int:
    if framework == "torch":
        return torch.cuda.max_memory_allocated()
    import tensorflow as tf

    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
