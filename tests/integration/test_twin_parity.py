"""Some architectures against torch, in float32 and float64. All: `make bench-twins`, last results in tests/bench."""

import pytest

from tests import parity

SMALL = ["convnext_tiny", "mobilenet_v3_small", "shufflenet_v2_x1_0", "squeezenet1_1", "swin_v2_t"]
"""With and without BatchNorm, with LayerNorm, windows of attention, depthwise and shuffled channels."""
OTHERS = ["densenet121", "efficientnet_b0", "googlenet", "mnasnet0_5", "regnet_y_400mf", "resnet18", "vit_b_32"]
"""A small one of each of the other families."""


@pytest.mark.parametrize("arch", [*SMALL, *(pytest.param(arch, marks=pytest.mark.matrix) for arch in OTHERS)])
def test_a_twin_is_torch(arch: str) -> None:
    assert parity.measure(arch, parity.smallest_telling_size(arch)).failures() == []
