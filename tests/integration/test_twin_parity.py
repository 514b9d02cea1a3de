"""Some architectures against torch, in float32 and float64. All: `make bench-twins`, last results in tests/bench."""

import pytest

from tests import parity
from tests.matrix import keep

FAMILIES = [
    *("convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "mnasnet0_5", "mobilenet_v3_small"),
    *("regnet_y_400mf", "resnet18", "shufflenet_v2_x1_0", "squeezenet1_1", "swin_v2_t", "vit_b_32"),
]
"""A small one of each; convolutions, depthwise ones and attention are in every run of the tests."""
TIMM = [
    *("convnextv2_atto", "efficientvit_b0", "eva02_tiny_patch14_224", "fastvit_t8", "hiera_tiny_224"),
    *("maxvit_rmlp_pico_rw_256", "mobilenetv4_conv_small", "regnety_002", "swin_tiny_patch4_window7_224"),
    *("tf_efficientnetv2_b0", "tiny_vit_5m_224", "vit_small_patch14_dinov2", "vit_small_patch16_dinov3"),
    *("vit_tiny_patch16_224", "vit_base_patch16_siglip_224"),
]
"""The smallest of each family of timm's."""


@pytest.mark.parametrize("arch", keep({"resnet18", "mobilenet_v3_small", "swin_v2_t"}, FAMILIES))
def test_a_twin_is_torch(arch: str) -> None:
    assert parity.measure(arch, parity.smallest_telling_size(arch)).failures() == []


@pytest.mark.parametrize("name", keep({"mobilenetv4_conv_small", "convnextv2_atto", "vit_tiny_patch16_224"}, TIMM))
def test_a_twin_of_timms_is_torch(name: str) -> None:
    arch = f"timm/{name}"
    assert parity.measure(arch, parity.smallest_telling_size(arch)).failures() == []
