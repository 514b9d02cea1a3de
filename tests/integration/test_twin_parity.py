"""Some architectures against torch, in float32 and float64. All: `make bench-twins`, last results in tests/bench."""

import pytest

from tests import parity

FAMILIES = ["mobilenet_v3_small", "shufflenet_v2_x1_0", "squeezenet1_1"]


@pytest.mark.parametrize("arch", FAMILIES)
def test_a_twin_is_torch(arch: str) -> None:
    assert parity.measure(arch, parity.smallest_telling_size(arch)).failures() == []
