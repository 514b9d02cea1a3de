"""Pretraining in both frameworks: the same losses, a resume that changes nothing, and what the history tells."""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scenerec.config.pretrain import PretrainConfig
from scenerec.config.train import TrainConfig
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.packing.pack_plan import PackOptions
from scenerec.data.stream import Cursor
from scenerec.errors import CheckpointError, ModelError, PlanError
from scenerec.inference.predictors.trained_model import load_trained
from scenerec.job_log import EpochSummary, Event
from scenerec.models.weights.conversion import convert
from scenerec.models.weights.files import read_weights
from scenerec.training.preflight import check_job
from scenerec.training.pretrain_preflight import check_pretraining
from scenerec.training.run_folder import RunFolder
from scenerec.training.schedules import learning_rate
from tests.local_run import make_learner, open_job, train_here
from tests.matrix import keep
from tests.pretrain_run import MOCO, last_state, pretrain_config, same, train_until

Make = Callable[..., PretrainConfig]
METHODS: dict[str, dict[str, Any]] = {
    "simclr": {"method": "simclr"},
    "simclr, BatchNorm of each view": {"method": "simclr", "batchnorm": "each_view"},
    "mocov2": MOCO,
    "mocov3": {"method": "mocov3", "projector_width": 32, "predictor_width": 32},
}


@pytest.fixture
def make(scenes: Path, tmp_path: Path) -> Make:
    """Configs over 100 scenes without their labels, two steps an epoch; keywords are merged into the blocks."""
    return partial(pretrain_config, scenes, tmp_path / "runs")


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bits(make: Make) -> None:
    """With the momentum encoder, and with the queue, which has come round by then."""
    events: list[Event] = []
    whole, killed = (make(name=name, pretrain=MOCO, checkpoint={"every_steps": 1}) for name in ("whole", "killed"))
    result = train_here(whole, events.append)
    for step in (1, 2):
        train_until(killed, step)
    train_here(killed)
    ours, theirs = last_state(whole), last_state(killed)
    assert same(ours, theirs)
    assert ours.queue["position"] == [0] and ours.queue["keys"].shape == (96, 16)
    histories = [RunFolder(config.run_url).read_history() for config in (whole, killed)]
    assert [each.validation for each in histories[0]] == [each.validation for each in histories[1]]
    assert [each.train_loss for each in histories[0]] == [each.train_loss for each in histories[1]]
    first, last = histories[0]
    judged = ["val_loss", "val_knn_top1", "val_embedding_std", "val_effective_rank"]
    assert list(first.validation) == judged and list(last.validation) == [*judged[:2], "val_linear_top1", *judged[2:]]
    told = [event.validation for event in events if isinstance(event, EpochSummary)]
    assert told == [first.validation, last.validation]
    assert result["best"]["val_knn_top1"] == max(each.validation["val_knn_top1"] for each in histories[0])


@pytest.mark.parametrize("method", keep((), METHODS))
def test_both_frameworks_go_the_same_way(make: Make, method: str) -> None:
    """Over all steps of two epochs. In float64: float32's rounding, which each step multiplies, would soon hide all."""
    optimize = {"global_batch_size": 32, "warmup_epochs": 1, "weight_decay": 0.01, "precision": "fp64"}
    losses, states = [], []
    for framework in ("torch", "tensorflow"):
        config = make(framework=framework, pretrain=METHODS[method], model={"arch": "resnet18"}, optimize=optimize)
        learner = make_learner(open_job(config))
        with closing(learner.training_batches(Cursor())) as batches:
            for step, batch in enumerate(batches):
                learner.train_step(batch, learning_rate(step, 3, config.optimize))
                losses.append(learner.take_loss())
        states.append(learner.state())
    ours, theirs = np.split(np.array(losses), 2)
    assert len(ours) == 6
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    for part in ("model", "ema", "queue"):
        expected, found = (getattr(state, part) for state in states)
        assert expected.keys() == found.keys()
        for key in expected:
            np.testing.assert_allclose(found[key], expected[key], rtol=1e-6, atol=1e-7, err_msg=key)


@pytest.mark.slow
def test_a_collapse_shows(make: Make) -> None:
    """At a learning rate that is far too high the network soon says the same of all images."""
    configs = [
        make(name=name, pretrain=MOCO, probe=None, optimize={"epochs": 1, "lr": lr})
        for name, lr in (("sane", 1e-5), ("wild", 0.1))
    ]
    for config in configs:
        train_here(config)
    sane, wild = (RunFolder(config.run_url).read_history()[-1].validation for config in configs)
    assert list(sane) == ["val_loss", "val_embedding_std", "val_effective_rank"]
    assert sane["val_embedding_std"] > 0.03 and sane["val_effective_rank"] > 1.1
    assert wild["val_embedding_std"] < 1e-3 and wild["val_effective_rank"] < 1.01


@pytest.mark.slow
def test_its_backbone_begins_a_training(make: Make, make_config: Callable[..., TrainConfig], tmp_path: Path) -> None:
    config = make(pretrain=MOCO, probe=None, optimize={"epochs": 1})
    train_here(config)
    pretrained = last_state(config).model
    training = make_config(model={"arch": "squeezenet1_1", "weights": config.run_url})
    assert check_job(training).plan.weights == (
        f"{config.run_url}, which have no head: classifier.1 starts random (4 classes)"
    )
    state = make_learner(open_job(training)).state().model
    backbone = [key for key in state if not key.startswith("classifier.1.")]
    assert all(np.array_equal(state[key], pretrained[key]) for key in backbone)
    with pytest.raises(ModelError, match="is of a pretraining, which knows no classes: train a head on it"):
        convert(config.run_url, str(tmp_path / "weights.safetensors"), "safetensors", partial=True)
    with pytest.raises(ModelError, match="is of a pretraining, which knows no classes: train a head on it"):
        load_trained(config.run_url)
    weights = read_weights(config.run_url, averaged=True)
    assert weights.state.keys() == set(backbone)
    again = make(name="again", model={"arch": "squeezenet1_1", "weights": config.run_url})
    assert check_pretraining(again).plan.weights == config.run_url


def test_the_plan_tells_the_method(make: Make) -> None:
    found = dict(check_pretraining(make(pretrain={"method": "mocov3"})).rows())
    assert found["model"] == "squeezenet1_1, mocov3, in torch"
    assert found["data"].startswith("100 training samples, 1")
    assert found["momentum"] == (
        "at 0.99 the momentum encoder still has 98% of its first weights after 4 steps: set pretrain.momentum to 0.9, "
        "or train longer"
    )
    shortest = check_pretraining(make(pretrain=MOCO)).plan.momentum_encoder
    assert shortest == "at 0.9 the momentum encoder still has 66% of its first weights after 4 steps: train longer"
    assert "momentum" not in dict(check_pretraining(make()).rows())


def test_what_does_not_fit_the_data_is_refused_before_anything_starts(make: Make, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"pretrain\.queue: 144 keys are more than the 100 images .* take 96 or less"):
        check_pretraining(make(pretrain={**MOCO, "queue": 144}))
    with pytest.raises(PlanError, match=r"optimize\.global_batch_size: 128 exceeds the 100 samples"):
        check_pretraining(make(optimize={"global_batch_size": 128}))
    for number, split in enumerate(("train", "val")):
        (tmp_path / "one" / split / "any").mkdir(parents=True)
        Image.new("RGB", (40, 32), (number, 90, 0)).save(tmp_path / "one" / split / "any" / "0.png")
    pack(PackRequest(source=tmp_path / "one", destination=str(tmp_path / "packed"), options=PackOptions()))
    with pytest.raises(PlanError, match=r"data\.train: .*/packed/train has one image, and no other to tell it from"):
        check_pretraining(make(data={"train": f"{tmp_path}/packed/train"}))
    with pytest.raises(PlanError, match=r"probe\.val: its classes are not those of .* in one of them only"):
        check_pretraining(make(probe={"val": f"{tmp_path}/packed/val"}))
    config = make()
    probe = {"train": config.data.train, "val": config.data.train}
    with pytest.raises(PlanError, match=r"probe\.val: .* has images of probe\.train"):
        check_pretraining(make(probe=probe))


def test_another_method_does_not_go_on_from_its_checkpoints(make: Make) -> None:
    config = make(pretrain=MOCO, checkpoint={"every_steps": 1})
    train_until(config, step=1)
    assert check_pretraining(config).resumes_at == 1
    with pytest.raises(CheckpointError, match=r"another pretrain\.queue \(96, now 48\)"):
        check_pretraining(make(pretrain={**MOCO, "queue": 48}))
    with pytest.raises(CheckpointError, match=r"another pretrain\.method \('mocov2', now 'simclr'\)"):
        check_pretraining(make())
