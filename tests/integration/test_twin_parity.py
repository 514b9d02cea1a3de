"""Some architectures against torch, in float32 and float64. All: `make bench-twins`, last results in tests/bench."""

import pytest

from tests import parity
from tests.matrix import keep

FAMILIES = [
    *("convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "mnasnet0_5", "mobilenet_v3_small"),
    *("regnet_y_400mf", "resnet18", "shufflenet_v2_x1_0", "squeezenet1_1", "swin_v2_t", "vit_b_32"),
]
"""A small one of each; convolutions, depthwise ones and attention are in every run of the tests."""


@pytest.mark.parametrize("arch", keep({"resnet18", "mobilenet_v3_small", "swin_v2_t"}, FAMILIES))
def test_a_twin_is_torch(arch: str) -> None:
    assert parity.measure(arch, parity.smallest_telling_size(arch)).failures() == []
