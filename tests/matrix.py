"""Which cases of a matrix every run of the tests has."""

from collections.abc import Container, Iterable
from typing import Any

import pytest

FAMILIES = frozenset(
    (
        *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_b5", "efficientnet_v2_s"),
        *("googlenet", "inception_v3", "maxvit_t", "mnasnet1_0", "mobilenet_v2", "mobilenet_v3_small"),
        *("regnet_x_400mf", "regnet_y_400mf", "resnet18", "resnet50", "resnext50_32x4d", "shufflenet_v2_x1_0"),
        *("timm/convnextv2_atto", "timm/mobilenetv4_conv_small", "timm/vit_tiny_patch16_224"),
        *("squeezenet1_1", "swin_t", "swin_v2_t", "vgg11", "vgg11_bn", "vit_b_16", "wide_resnet50_2"),
    )
)
"""An architecture of each family, and of each way in which a family builds its layers."""


def keep(kept: Container[str], cases: Iterable[str]) -> list[Any]:
    """All cases as parameters, of which those that are not kept have the marker `matrix`."""
    return [case if case in kept else pytest.param(case, marks=pytest.mark.matrix) for case in cases]
