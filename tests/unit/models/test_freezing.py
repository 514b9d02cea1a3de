"""What `model.freeze` names, and what freezing does to a network of either framework."""

import numpy as np
import pytest
import tensorflow as tf
import torch

from scenerec.errors import ModelError
from scenerec.models import tf_freezing, tf_model, torch_freezing, torch_model, torch_outline, zoo
from scenerec.models.freezing import Freeze, TrainedPart, frozen_names

NAMES = ["conv1.weight", "bn1.weight", "bn1.bias", "layer1.0.conv1.weight", "layer10.0.conv1.weight", "fc.weight"]


@pytest.mark.parametrize(
    ("freeze", "frozen"),
    [
        ("none", []),
        ("backbone", NAMES[:-1]),
        (["conv1", "bn1"], NAMES[:3]),
        (["layer1"], NAMES[3:4]),  # not layer10
        (["bn1.bias"], NAMES[2:3]),
        (["layer1.0", "layer1"], NAMES[3:4]),
    ],
)
def test_what_a_freeze_names(freeze: Freeze, frozen: list[str]) -> None:
    assert frozen_names("resnet18", freeze, NAMES) == set(frozen)


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        (["layer2"], r"resnet18 has no module 'layer2': the nearest are .*\blayer1\b"),
        (["layer"], "the nearest are layer1, layer10"),
        (["zzz"], "its modules are conv1, bn1, layer1, layer10, fc"),
        (["conv1", "bn1", "layer1", "layer10", "fc"], "nothing is left to train"),
    ],
)
def test_a_freeze_that_does_not_fit_is_refused_in_one_line(freeze: Freeze, message: str) -> None:
    with pytest.raises(ModelError, match=message) as raised:
        frozen_names("resnet18", freeze, NAMES)
    assert str(raised.value).startswith("model.freeze: ")
    assert "\n" not in str(raised.value)


def test_a_trained_part_reads_well() -> None:
    assert str(TrainedPart(513, 11_177_025, "backbone")) == "513 of 11,177,025 parameters (backbone frozen)"


@pytest.mark.parametrize("arch", ["resnet18", "densenet121", "vit_b_16", "maxvit_t", "squeezenet1_1"])
def test_a_frozen_backbone_leaves_the_head(arch: str) -> None:
    names = list(torch_outline.parameter_shapes(arch, 5))
    left = set(names) - frozen_names(arch, "backbone", names)
    assert {name.rpartition(".")[0] for name in left} == {zoo.architecture(arch).head}


@pytest.mark.slow
def test_freezing_does_the_same_to_both(rng: np.random.Generator) -> None:
    """Same parameters left, same modules in evaluation mode, same logits and same statistics after a training pass."""
    network = torch_model.build("resnet18", 5, seed=0)
    twin = tf_model.build("resnet18", 5, 64, seed=0)
    names = [name for name, _ in network.named_parameters()]
    frozen = frozen_names("resnet18", ["conv1", "bn1", "layer1", "layer2.0.bn1.weight"], names)
    torch_freezing.freeze(network, frozen)
    tf_freezing.freeze(twin, frozen)
    assert {b.key for b in tf_model.bindings(twin) if b.trainable} == set(names) - frozen
    assert {name for name, p in network.named_parameters() if p.requires_grad} == set(names) - frozen
    assert len(twin.trainable_variables) == len(names) - len(frozen)

    start = torch_model.state(network)
    images = rng.normal(size=(4, 3, 64, 64)).astype("float32")
    torch_freezing.train_mode(network)
    ours = network(torch.from_numpy(images)).detach().numpy()
    theirs = twin(tf.constant(images.transpose(0, 2, 3, 1)), training=True).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    moved = [changed(start, state) for state in (torch_model.state(network), tf_model.state(twin))]
    assert moved[0] == moved[1]
    running = {key for key in start if key.rpartition(".")[2] in ("running_mean", "running_var")}
    assert moved[0] == {key for key in running if not key.startswith(("bn1.", "layer1."))}


def changed(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    return {key for key in before if not np.array_equal(before[key], after[key])}
