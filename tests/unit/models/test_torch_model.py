import numpy as np
import pytest
import torch
from torch import nn

from scenerec.errors import ModelError
from scenerec.models import neutral, torch_model
from scenerec.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD


def test_a_seed_decides_the_weights_and_touches_no_generator():
    before = torch.get_rng_state()
    first, again, other = (torch_model.state(torch_model.build("mobilenet_v3_small", 5, seed)) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert not np.array_equal(first["features.0.0.weight"], other["features.0.0.weight"])


def test_the_initial_weights_are_torchvisions():
    import torchvision

    torch.manual_seed(3)
    theirs = torchvision.models.resnet18(num_classes=7).state_dict()
    ours = torch_model.state(torch_model.build("resnet18", 7, seed=3))
    assert all(np.array_equal(array, theirs[key].numpy()) for key, array in ours.items())


def test_there_are_no_auxiliary_heads():
    with torch.device("meta"):  # without the time that weights take
        network = torch_model.build("googlenet", 5, seed=0)
        assert not any("aux" in key for key in network.state_dict())
        assert network.train()(torch.zeros(2, 3, 32, 32)).shape == (2, 5)


class SeenError(Exception):
    """Ends a forward pass with what a layer was called with."""


@pytest.mark.parametrize(("arch", "first"), [("googlenet", "conv1"), ("efficientnet_v2_l", "features.0")])
def test_another_normalisation_of_the_published_weights_is_the_networks_own_matter(arch: str, first: str):
    def see(_: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        raise SeenError(inputs[0])

    with torch.device("meta"):
        network = torch_model.build(arch, 2, seed=0)
    network.get_submodule(first).register_forward_pre_hook(see)
    pixels = torch.rand(1, 3, 32, 32)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    with pytest.raises(SeenError) as seen:
        network((pixels - mean) / std)
    torch.testing.assert_close(seen.value.args[0], (pixels - 0.5) / 0.5)


def test_an_unknown_architecture_is_refused():
    with pytest.raises(ModelError, match="unknown architecture 'resnet19'"):
        torch_model.build("resnet19", 5, seed=0)


def test_the_state_is_a_float32_copy_without_counters():
    network = torch_model.build("resnet18", 5, seed=0)
    state = torch_model.state(network)
    assert set(state) == {key for key in network.state_dict() if not key.endswith("num_batches_tracked")}
    assert {array.dtype for array in state.values()} == {np.dtype("float32")}
    state["fc.bias"][:] = 9.0
    assert network.fc.bias.max() < 9.0


def test_a_state_loads_in_place():
    source, target = (torch_model.build("resnet18", 5, seed) for seed in (0, 1))
    parameter = target.fc.weight
    torch_model.load_state(target, torch_model.state(source))
    assert target.fc.weight is parameter
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))
    assert parameter.requires_grad


def test_a_state_of_other_classes_is_refused():
    with pytest.raises(neutral.StateError, match=r"ResNet.*fc.weight \[6, 512\] instead of \[5, 512\]"):
        torch_model.load_state(
            torch_model.build("resnet18", 5, 0), torch_model.state(torch_model.build("resnet18", 6, 0))
        )
