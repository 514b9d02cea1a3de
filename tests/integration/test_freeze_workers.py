"""Two processes that train a part of the network: DistributedDataParallel and MultiWorkerMirroredStrategy."""

from typing import Any

import numpy as np
import pytest

from scenerec.checkpoint import LearnerState, list_checkpoints, load_checkpoint
from scenerec.config.train import TrainConfig
from scenerec.models import torch_model
from scenerec.models.freezing import frozen_names
from scenerec.training.run_folder import RunFolder
from scenerec.training.torch_learner import TorchLearner, use_threads
from scenerec.world import World
from tests.bare_workers import run_workers
from tests.local_run import open_job, train_here
from tests.matrix import keep

WORLD_SIZE = 2


@pytest.fixture
def make_probe(make_config: Any) -> Any:
    """A config of one epoch; the lanes, and with them the global batches, are those of any number of workers."""

    def make(**blocks: Any) -> TrainConfig:
        optimize = {"epochs": 1, "lr": 0.1, "weight_decay": 1e-3, "ema_decay": 0.8, "accumulate_steps": 2}
        return make_config(**{"data": {"lanes": 12}, "optimize": optimize, "scale": {"workers": WORLD_SIZE}, **blocks})

    return make


@pytest.mark.parametrize("framework", keep({"torch"}, ["torch", "tensorflow"]))
def test_two_workers_train_a_probe_as_one_does(make_probe: Any, framework: str) -> None:
    """A frozen BatchNorm sees no batch, so that nothing depends on how the batch is shared out."""
    probe = {"model": {"freeze": "backbone"}}
    one = make_probe(name="one", scale={"workers": 1}, **probe)
    use_threads(1)
    train_here(one)
    two = make_probe(name="two", framework=framework, **probe)
    run_workers(two, WORLD_SIZE)
    ours, theirs = last_state(one), last_state(two)
    for name in ours.model:
        np.testing.assert_allclose(ours.model[name], theirs.model[name], atol=2e-4, err_msg=name)
    for name in ours.ema:
        np.testing.assert_allclose(ours.ema[name], theirs.ema[name], atol=2e-4, err_msg=name)
    histories = [RunFolder(config.run_url).read_history()[-1] for config in (one, two)]
    assert histories[1].workers == WORLD_SIZE
    for metric in ("train_loss", "val_loss"):
        assert histories[0].scalars()[metric] == pytest.approx(histories[1].scalars()[metric], rel=1e-3)


@pytest.mark.parametrize("framework", keep({"tensorflow"}, ["torch", "tensorflow"]))
def test_what_is_frozen_between_trained_modules_stays_on_all_ranks(make_probe: Any, framework: str) -> None:
    """What is not frozen has the statistics that one worker finds for the same weights, and for their averages.

    Blocks are computed once more for the backward pass, in which the ranks talk to each other.
    """
    keys = {"recompute_activations": True}
    config = make_probe(framework=framework, model={"freeze": ["layer2", "bn1"]}, compute=keys)
    run_workers(config, WORLD_SIZE)
    drawn = torch_model.build("resnet18", 4, config.optimize.seed)
    names = [name for name, _ in drawn.named_parameters()]
    frozen = frozen_names("resnet18", ["layer2", "bn1"], names)
    before, after = torch_model.state(drawn), last_state(config).model
    for name, array in before.items():
        still = name in frozen or name.startswith(("layer2.", "bn1."))
        assert np.array_equal(array, after[name]) == still, name

    use_threads(1)
    job = open_job(config)
    assert (
        job.plan.precise_batchnorm is not None and job.plan.precise_batchnorm.batches == 3
    )  # which the two share out unevenly
    alone = TorchLearner(job, World())
    alone.load_state(last_state(config))
    alone.estimate_statistics(job.plan.precise_batchnorm)
    tolerance = 0 if framework == "torch" else 1e-3  # the frameworks resize to other pixels
    ours, theirs = alone.state(), last_state(config)
    assert {name for name in theirs.ema if name.endswith("running_var")} == {
        name for name in before if name.endswith("running_var") and not name.startswith(("layer2.", "bn1."))
    }
    for found, expected in ((theirs.model, ours.model), (theirs.ema, ours.ema)):
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, rtol=tolerance, atol=tolerance, err_msg=name)


def last_state(config: TrainConfig) -> LearnerState:
    checkpoints = RunFolder(config.run_url).checkpoints
    return load_checkpoint(checkpoints, list_checkpoints(checkpoints)[-1]).learner
