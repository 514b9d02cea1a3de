"""The blocks of every architecture, by the names that torch gives its parameters."""

from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.errors import ModelError
from scenerec.models import torch_model, torch_outline, zoo
from scenerec.models.blocks import block_numbers, block_paths, is_under, lr_factors
from tests.matrix import FAMILIES, keep

# The residual, dense, inception or transformer blocks that the papers count; of plain networks the weighted layers
# (but the head). Stem and head come on top, except that a plain network's first layer is its stem.
BLOCKS = {
    "alexnet": 6,
    "convnext_tiny": 18,
    "densenet121": 58,
    "efficientnet_b0": 16,
    "efficientnet_v2_s": 40,
    "googlenet": 9,
    "inception_v3": 11,
    "maxvit_t": 11,
    "mnasnet1_0": 16,
    "mobilenet_v2": 17,
    "mobilenet_v3_large": 15,
    "mobilenet_v3_small": 11,
    "regnet_x_400mf": 22,
    "resnet18": 8,
    "resnet50": 16,
    "resnext101_64x4d": 33,
    "shufflenet_v2_x1_0": 16,
    "squeezenet1_1": 8,
    "swin_t": 12,
    "swin_v2_b": 24,
    "vgg16": 14,
    "vgg16_bn": 14,
    "vit_b_16": 12,
    "vit_h_14": 32,
    "wide_resnet50_2": 16,
}


@cache
def names_of(arch: str) -> list[str]:
    return list(torch_outline.parameter_shapes(arch, 5))


@pytest.mark.slow
@pytest.mark.parametrize("arch", keep(FAMILIES, zoo.ARCHITECTURES))
def test_the_blocks_lead_from_the_stem_to_the_head(arch: str) -> None:
    numbers = block_numbers(arch, names_of(arch))
    assert list(numbers) == names_of(arch)
    order = list(numbers.values())
    assert order == sorted(order)
    assert set(order) == set(range(max(order) + 1))
    assert max(order) - 1 == BLOCKS.get(arch, max(order) - 1)
    assert 7 <= max(order) <= 100
    in_head = {name for name, number in numbers.items() if number == max(order)}
    assert in_head == {name for name in names_of(arch) if is_under(name, zoo.architecture(arch).head)}
    assert len(in_head) in (1, 2)
    stem = [name for name, number in numbers.items() if number == 0]
    assert 1 <= len(stem) <= (17 if arch == "timm/fastvit_t8" else 15)  # its three layers have two branches each


def test_the_blocks_are_modules_but_of_plain_networks() -> None:
    expected = ("stage2.0", "stage2.1", "stage2.2", "stage2.3", "stage3.0")
    assert block_paths("shufflenet_v2_x1_0", names_of("shufflenet_v2_x1_0"))[:5] == expected
    paths = block_paths("mobilenet_v3_small", names_of("mobilenet_v3_small"))
    assert len(paths) == BLOCKS["mobilenet_v3_small"] and paths[0] == "features.1"
    with pytest.raises(ModelError, match="vgg11_bn is made of single layers, of which nothing can be left out"):
        block_paths("vgg11_bn", names_of("vgg11_bn"))


def test_a_layer_between_two_blocks_counts_to_the_first() -> None:
    numbers = block_numbers("swin_t", names_of("swin_t"))
    assert numbers["features.2.reduction.weight"] == numbers["features.1.1.mlp.3.weight"] == 2
    assert numbers["norm.weight"] == numbers["features.7.1.mlp.3.weight"] == 12
    numbers = block_numbers("vgg11_bn", names_of("vgg11_bn"))
    assert numbers["features.4.weight"] == numbers["features.5.bias"] == 1  # a convolution and its BatchNorm


@given(st.sampled_from(["resnet50", "vit_b_16", "densenet121"]), st.floats(0.05, 1))
def test_the_factor_falls_from_the_head_by_the_decay(arch: str, decay: float) -> None:
    factors, numbers = lr_factors(arch, names_of(arch), decay), block_numbers(arch, names_of(arch))
    values = list(dict.fromkeys(zip(numbers.values(), factors.values(), strict=True)))
    assert values[-1][1] == 1
    for (_, lower), (_, upper) in pairwise(values):
        assert lower == pytest.approx(upper * decay)


def test_without_decay_every_factor_is_one() -> None:
    assert set(lr_factors("resnet18", names_of("resnet18"), 1.0).values()) == {1.0}


def test_an_architecture_without_a_rule_is_named_where_its_blocks_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(zoo.ARCHITECTURES, "lenet", zoo.Architecture("lenet", "fc", 60_000, 224, 0.001))
    assert lr_factors("lenet", ["conv.weight", "fc.weight"], 1.0) == {"conv.weight": 1.0, "fc.weight": 1.0}
    with pytest.raises(ModelError, match=r"lenet are not known: add a rule for it to scenerec/models/blocks\.py"):
        lr_factors("lenet", ["conv.weight", "fc.weight"], 0.5)


@pytest.mark.parametrize("arch", ["mobilenet_v3_small", "regnet_y_400mf"])
def test_the_outline_is_that_of_the_network(arch: str) -> None:
    network = torch_model.build(arch, 5, seed=0)
    expected = {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}
    found = torch_outline.parameter_shapes(arch, 5)
    assert found == expected
    assert list(found) == list(expected)
