"""Architectures of timm on their way through both frameworks: saved twin, both graphs, first weights, BatchNorm."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from scenerec.models import neutral, torch_batchnorm, torch_model
from scenerec.models.weights import tf_weights
from tests import parity
from tests.matrix import keep

SIZES = {"convnextv2_atto": 64, "mobilenetv4_conv_small": 64, "vit_tiny_patch16_224": 48}


@pytest.mark.slow
@pytest.mark.parametrize("name", keep({"mobilenetv4_conv_small"}, SIZES))
def test_the_graphs_of_both_routes_are_the_network(name: str) -> None:
    found = parity.export_differences(f"timm/{name}", SIZES[name])
    assert set(found) == {"torch", "tensorflow"} and max(found.values()) <= parity.LOGITS_TOLERANCE, found


@pytest.mark.slow
def test_a_twin_is_read_from_its_file_again(tmp_path: Path) -> None:
    """Keras allows no slash in a name; its constants and parts of tensors are layers, which the file describes."""
    arch = "timm/vit_tiny_patch16_224"
    state = torch_model.state(torch_model.build(arch, 3, seed=1))
    tf_weights.write(tmp_path / "vit.keras", "keras", state, arch, 3, 32)
    found, name, size = tf_weights.read(tmp_path / "vit.keras", "vit.keras")
    assert (name, size) == (arch, 32)
    assert set(found) == set(state) and all(np.array_equal(found[key], state[key]) for key in state)


def test_first_weights_come_from_the_seed_alone() -> None:
    first, second, other = (
        torch_model.state(torch_model.build("timm/mobilenetv4_conv_small", 3, seed)) for seed in (1, 1, 2)
    )
    neutral.check_fits({key: array.shape for key, array in first.items()}, second, "second")
    assert all(np.array_equal(first[key], second[key]) for key in first)
    assert not all(np.array_equal(first[key], other[key]) for key in first)


def test_synchronised_batchnorm_keeps_the_activation_that_timm_has_in_it() -> None:
    network = torch_model.build("timm/mobilenetv4_conv_small", 3, seed=1).eval()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(images)
        torch_batchnorm.synchronise(network)
        assert any(isinstance(layer, torch_batchnorm.JointBatchNorm) for layer in network.modules())
        assert not any(isinstance(layer, nn.BatchNorm2d) and hasattr(layer, "act") for layer in network.modules())
        torch.testing.assert_close(network(images), expected)


def test_synchronised_batchnorm_of_vectors_is_batchnorm() -> None:
    """Some of timm's architectures have it in their heads, and in their attention."""
    network = nn.Sequential(nn.Flatten(2), nn.BatchNorm1d(3), nn.Flatten(), nn.BatchNorm1d(48)).train()
    images = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    network(images)
    assert list(torch_batchnorm.trained_layers(network)) == ["1", "3"]
    with torch.no_grad():
        expected = network.eval()(images)
        torch_batchnorm.synchronise(network)
        assert [type(layer) for layer in network[1::2]] == [torch_batchnorm.JointBatchNorm] * 2
        torch.testing.assert_close(network(images), expected)


def test_dropout_that_is_a_function_gets_a_layer_to_draw_by() -> None:
    from timm.models.ghostnet import GhostNet

    network = GhostNet([[[3, 16, 16, 0, 1]]], num_classes=3)
    keys = list(network.state_dict())
    torch_model.name_dropout(network)
    assert [module.p for module in network.modules() if isinstance(module, nn.Dropout)] == [0.2]
    assert network.drop_rate == 0 and list(network.state_dict()) == keys
