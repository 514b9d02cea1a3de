"""How much the losses of a class count: the factors, what is refused, and the loss that is then learned from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from scenerec.data.manifest import Manifest, Shard
from scenerec.data.packed_set import PackedSet, open_set
from scenerec.data.stream import Cursor
from scenerec.data.torch_input import Batch
from scenerec.errors import PlanError
from scenerec.storage import LocalStorage
from scenerec.training.class_weights import loss_weights
from scenerec.training.learner import TrainingJob
from scenerec.training.preflight import check_job, plan_job
from scenerec.training.torch_learner import TorchLearner
from scenerec.world import World
from tests.conftest import MakeConfig
from tests.unit.training.test_plan import config

CLASSES = ("beach", "forest", "market/indoor")


def parts(*counts: Sequence[int], weights: Sequence[float] = (1.0, 1.0)) -> list[tuple[PackedSet, float]]:
    """Sets with so many images of each class, and their weights."""
    found = []
    for weight, each in zip(weights, counts, strict=False):
        by_class = dict(enumerate(each))
        shard = Shard(key="0.tar", size_bytes=1, sha256="0" * 64, samples=sum(each), class_counts=by_class)
        manifest = Manifest(classes=CLASSES[: len(each)], shards=(shard,))
        found.append((PackedSet(LocalStorage(Path("/")), manifest), weight))
    return found


def weights(setting: Any, data: list[tuple[PackedSet, float]], balance: float = 0.0) -> list[float]:
    found = loss_weights(config(optimize={"class_weights": setting}, data={"balance": balance}), data)
    return list(found.values())


def test_balanced_weights_are_in_inverse_proportion_to_the_images_of_an_epoch() -> None:
    assert weights("balanced", parts([6, 3, 1])) == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    assert weights("balanced", parts([6, 3, 3]), balance=1) == [1, 1, 1]  # they are even already
    assert weights("balanced", parts([6, 2], [2, 6])) == [1, 1]
    assert weights("balanced", parts([6, 2], [2, 6], weights=(3, 1))) == pytest.approx([16 / 20, 16 / 12])


def test_named_weights_count_beside_one_for_the_others_and_are_scaled() -> None:
    assert weights({"forest": 3}, parts([6, 3, 1])) == pytest.approx([10 / 16, 30 / 16, 10 / 16])
    assert weights({" market/indoor": 2, "beach": 2, "forest": 2}, parts([6, 3, 1])) == pytest.approx([1, 1, 1])
    assert weights("none", parts([6, 3, 1])) == []
    assert weights(None, parts([6, 3, 1])) == []


@given(
    st.lists(st.integers(1, 1000), min_size=2, max_size=3),
    st.one_of(st.just("balanced"), st.dictionaries(st.sampled_from(CLASSES[:2]), st.floats(0.01, 100), min_size=1)),
)
def test_an_epochs_images_weigh_one_on_average(counts: list[int], setting: Any) -> None:
    assert np.average(weights(setting, parts(counts)), weights=counts) == pytest.approx(1)


def test_a_class_that_is_not_there_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(PlanError) as raised:
        weights({"beech": 3}, parts([6, 3, 1]))
    assert str(raised.value) == ("optimize.class_weights: the training set has no class 'beech': did you mean 'beach'?")
    with pytest.raises(PlanError, match=r"no class 'x': its classes are beach, forest, market/indoor$"):
        weights({"x": 3}, parts([6, 3, 1]))


def test_the_plan_says_the_weights_before_and_in_the_job(make_config: MakeConfig) -> None:
    asked = make_config(optimize={"class_weights": {"beach": 7}})
    found = check_job(asked).plan
    assert found.class_weights == plan_job(asked).class_weights
    assert list(found.class_weights.values()) == pytest.approx([2.8, 0.4, 0.4, 0.4])
    assert dict(found.rows())["class weights"] == (
        "0.4 (city) to 2.8 (beach) in the training loss, 1 on average over an epoch's images"
    )
    assert "class weights" not in dict(plan_job(make_config()).rows())


@pytest.mark.slow
def test_the_loss_is_torchs_with_the_weights_and_validation_is_not_weighted(make_config: MakeConfig) -> None:
    pieces = 2
    optimize = {"accumulate_steps": pieces, "precision": "fp64", "lr": 1e-9}
    model = {"arch": "shufflenet_v2_x0_5"}  # without dropout
    settings = ("none", {"beach": 7})
    configs = [make_config(model=model, optimize={**optimize, "class_weights": setting}) for setting in settings]
    plain, weighted = (
        TorchLearner(TrainingJob(each, plan_job(each), open_set(each.data.train), open_set(each.data.val)), World())
        for each in configs
    )
    batch = next(plain.training_batches(Cursor()))
    plain.model.train()
    factors = torch.tensor([2.8, 0.4, 0.4, 0.4], dtype=torch.float64)
    expected = 0.0
    for images, labels in zip(batch.images.tensor_split(pieces), batch.labels.tensor_split(pieces), strict=True):
        logits = plain._logits(plain.model, Batch(images, labels, None))
        expected += float(F.cross_entropy(logits, labels, factors, reduction="sum")) / 16
    weighted.train_step(batch, 1e-9)
    assert weighted.take_loss() == pytest.approx(expected, rel=1e-6)
    assert float(F.cross_entropy(logits, labels, reduction="sum")) != pytest.approx(expected, rel=1e-3)
    plain.load_state(weighted.state())
    ours, theirs = (learner.evaluate(learner.validation_batches()) for learner in (plain, weighted))
    assert ours.as_array() == pytest.approx(theirs.as_array())
