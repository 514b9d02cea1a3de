"""Both frameworks on a GPU; skipped where there is none."""

from typing import Any

import pytest
import torch

from scenerec.data.packed_set import open_set
from scenerec.training.learner import Learner, TrainingJob
from scenerec.training.loop import train
from scenerec.training.preflight import plan_job
from scenerec.world import World

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU and its driver"),
]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_a_run_trains_on_the_gpu(make_config: Any, framework: str, precision: str) -> None:
    config = make_config(framework=framework, optimize={"precision": precision, "epochs": 4, "lr": 0.01})
    job = TrainingJob(config, plan_job(config), open_set(config.data.train), open_set(config.data.val))
    world = World(device="cuda:0")
    learner: Learner
    if framework == "torch":
        from scenerec.training import torch_learner

        learner = torch_learner.TorchLearner(job, world)
    else:
        from scenerec.training import tf_learner

        tf_learner.use_threads(2)
        learner = tf_learner.TfLearner(job, world)
    result = train(job, world, learner, lambda event: None, lambda metrics: None)
    assert result["last"]["train_loss"] < 1.2
