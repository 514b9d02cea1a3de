from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torchvision  # noqa: F401  (before tensorflow)
from torch import nn
from torchvision.models import MaxVit, SwinTransformer, VisionTransformer
from torchvision.models.swin_transformer import (
    PatchMerging,
    PatchMergingV2,
    SwinTransformerBlock,
    SwinTransformerBlockV2,
)

import keras  # isort: skip

from scenerec.models import torch_model
from scenerec.models.keras_twin import bindings, builder
from tests.matrix import keep

Pair = tuple[nn.Module, keras.Model]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def twin_of() -> Callable[[nn.Module, int], keras.Model]:
    """(torch network, image size) -> its twin with its weights."""

    def make(network: nn.Module, image_size: int) -> keras.Model:
        twin = builder.twin(network, image_size, name="twin")
        bindings.load_state(twin, torch_model.state(network))
        return twin

    return make


@pytest.fixture
def make_pair(twin_of: Callable, rng: np.random.Generator) -> Callable[..., Pair]:
    """arch, or network -> (torch network, its twin): equal weights, non-trivial BatchNorm statistics, no dropout."""

    def make(of: str | nn.Module, image_size: int = 64, classes: int = 5) -> Pair:
        network = torch_model.build(of, classes, seed=1) if isinstance(of, str) else of
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.copy_(torch.from_numpy(rng.normal(0.0, 0.1, module.running_mean.shape)))
                module.running_var.copy_(torch.from_numpy(rng.uniform(0.5, 1.5, module.running_var.shape)))
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        return network, twin_of(network, image_size)

    return make


@pytest.fixture
def set_policy() -> Iterator[Callable[[str], None]]:
    """Keras's dtype policy is global."""
    yield keras.mixed_precision.set_dtype_policy
    keras.mixed_precision.set_dtype_policy("float32")


@pytest.fixture(params=keep({"vit", "swin_v2", "maxvit"}, ["vit", "swin", "swin_v2", "maxvit"]))
def attention_network(request: pytest.FixtureRequest) -> nn.Module:
    """A small network of each family with attention, for images of 32 px, all its weights random, without dropout."""
    torch.manual_seed(0)
    network = ATTENTION_NETWORKS[request.param]()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


def _swin(block: Callable[..., nn.Module], merging: type[nn.Module]) -> nn.Module:
    return SwinTransformer(
        patch_size=[2, 2],
        embed_dim=8,
        depths=[2, 1],  # plain and shifted windows, merged, plain ones
        num_heads=[2, 4],
        window_size=[3, 5],
        stochastic_depth_prob=0.0,
        num_classes=5,
        block=block,
        downsample_layer=merging,
    )


ATTENTION_NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "vit": lambda: VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5),
    "swin": lambda: _swin(SwinTransformerBlock, PatchMerging),
    "swin_v2": lambda: _swin(SwinTransformerBlockV2, PatchMergingV2),
    "maxvit": lambda: MaxVit(
        input_size=(32, 32),
        stem_channels=8,
        partition_size=4,
        block_channels=[16],
        block_layers=[2],  # with a stride, and without one
        head_dim=4,
        stochastic_depth_prob=0.0,
        num_classes=5,
    ),
}
