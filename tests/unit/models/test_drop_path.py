"""The rates of stochastic depth, block by block, in both frameworks."""

import numpy as np
import pytest
import timm
from timm.layers import DropPath
from torch import nn
from torchvision.models.efficientnet import MBConv
from torchvision.ops import StochasticDepth

from scenerec.errors import ModelError
from scenerec.models import tf_model, torch_model
from scenerec.models.drop_path import drops_by_itself, has_drop_path
from scenerec.models.keras_twin import layers
from scenerec.models.torch_drop_path import set_drop_path
from scenerec.models.torch_outline import _WithoutStorage
from scenerec.models.zoo import ARCHITECTURES
from tests.matrix import keep


def rates(network: nn.Module) -> list[float]:
    """Of all layers of stochastic depth, in order."""
    return [
        module.p if isinstance(module, StochasticDepth) else module.drop_prob
        for module in network.modules()
        if isinstance(module, StochasticDepth | DropPath)
    ]


def test_rates_grow_linearly_to_the_last_block() -> None:
    with _WithoutStorage():
        network = torch_model.build("efficientnet_b0", 4, 0, drop_path=0.3)
    assert rates(network) == pytest.approx(np.linspace(0, 0.3, 16))


@pytest.mark.slow
def test_a_twin_has_the_rates_of_torch() -> None:
    network = torch_model.build("efficientnet_b0", 4, 0, drop_path=0.3)
    blocks = [block for block in network.modules() if isinstance(block, MBConv) and block.use_res_connect]
    twin = tf_model.build("efficientnet_b0", 4, 32, 0, drop_path=0.3)
    drops = [layer.rate for layer in twin.layers if isinstance(layer, layers.Dropout) and layer.rows]
    assert drops == [block.stochastic_depth.p for block in blocks]


def test_without_a_rate_an_architecture_keeps_its_own() -> None:
    with _WithoutStorage():
        network = torch_model.build("efficientnet_b0", 4, 0)
    assert max(rates(network)) == pytest.approx(0.2 * 15 / 16)


@pytest.mark.parametrize("arch", keep({"resnet18", "vit_b_16", "swin_t", "timm/resnet50"}, ARCHITECTURES))
def test_the_config_knows_which_architectures_can(arch: str) -> None:
    with _WithoutStorage():
        network = torch_model.build(arch, 4, 0)
    elements = [module.p for module in network.modules() if isinstance(module, nn.Dropout)]
    assert any([*elements, *rates(network)]) == drops_by_itself(arch)
    if has_drop_path(arch):
        set_drop_path(network, 0.2)
        assert max(rates(network)) == pytest.approx(0.2)
    else:
        with pytest.raises(ModelError, match=r"model\.drop_path: .* has no blocks with stochastic depth"):
            set_drop_path(network, 0.2)


@pytest.mark.parametrize(("arch", "blocks", "each"), [("resnet18", 8, 1), ("vit_tiny_patch16_224", 12, 2)])
@pytest.mark.parametrize("present", [0.0, 0.5])
def test_rates_are_those_that_timm_gives(arch: str, blocks: int, each: int, present: float) -> None:
    with _WithoutStorage():
        network = timm.create_model(arch, drop_path_rate=present)
        timms = timm.create_model(arch, drop_path_rate=0.2)
    set_drop_path(network, 0.2)
    assert rates(network) == pytest.approx(rates(timms))
    assert len(rates(network)) == (blocks - 1) * each  # the first has none
