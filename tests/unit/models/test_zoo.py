import math
import subprocess
import sys

import pytest
import timm
import torch
import torchvision
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from scenerec.errors import ModelError
from scenerec.models import torch_model, torch_outline, zoo
from scenerec.models.torch_outline import _WithoutStorage
from tests.matrix import FAMILIES, keep


def test_the_table_names_torchvisions_classifiers():
    assert list(zoo.TORCHVISION) == torchvision.models.list_models(module=torchvision.models)
    assert list(zoo.ARCHITECTURES)[:80] == list(zoo.TORCHVISION)


@pytest.mark.parametrize("entry", map(zoo.architecture, zoo.TORCHVISION), ids=lambda entry: entry.name)
def test_an_entry_is_what_torchvision_publishes(entry: zoo.Architecture):
    published = {
        (weights.meta["num_params"], weights.transforms.keywords["crop_size"], weights.meta["_ops"])
        for weights in torchvision.models.get_model_weights(entry.name)
    }
    assert (entry.parameters, entry.image_size, entry.gflops) in published


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size_of", "gflops_of"),
    [
        ("efficientnet_b1", "image_size", "gflops"),
        ("efficientnet_b1", "224", "gflops_224"),
        ("swin_v2_t", "224", "gflops_224"),
        pytest.param("swin_v2_t", "image_size", "gflops", marks=pytest.mark.matrix),
    ],
)
def test_gflops_count_the_multiply_adds_of_an_image(name: str, size_of: str, gflops_of: str):
    entry = zoo.architecture(name)
    size = 224 if size_of == "224" else entry.image_size
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        torch_model.build(name, classes=1000, seed=0).eval()(torch.zeros(1, 3, size, size))
    assert round(counter.get_total_flops() / 2e9, 3) == getattr(entry, gflops_of)


def test_gflops_at_224_are_known_of_all():
    known = map(zoo.architecture, zoo.TORCHVISION)
    assert all((entry.image_size == 224) == (entry.gflops_224 is None) for entry in known)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "squeezenet1_1", "shufflenet_v2_x0_5"])
def test_parameters_count_the_network_at_1000_classes(name: str):
    network = torch_model.build(name, classes=1000, seed=0)
    assert sum(parameter.numel() for parameter in network.parameters()) == zoo.architecture(name).parameters


@pytest.mark.parametrize("name", keep(FAMILIES, zoo.ARCHITECTURES))
def test_batchnorms_momentum_is_that_of_the_layers(name: str):
    entry = zoo.architecture(name)
    with _WithoutStorage():
        network = torch_model.build(name, classes=2, seed=0)
    found = {round(module.momentum or 0, 6) for module in network.modules() if isinstance(module, _BatchNorm)}
    assert found == ({entry.batchnorm_momentum} if entry.batchnorm_momentum else set())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1", "densenet121", "alexnet"])
def test_the_head_is_what_depends_on_the_classes(name: str):
    few, many = (torch_model.build(name, classes, seed=0).state_dict() for classes in (2, 3))
    differing = {key.rpartition(".")[0] for key in few if few[key].shape != many[key].shape}
    assert differing == {zoo.architecture(name).head}


@pytest.mark.parametrize("name", ["squeezenet1_0", "squeezenet1_1"])
def test_the_smallest_image_is_the_smallest(name: str):
    network = torch_model.build(name, classes=2, seed=0).eval()
    size = zoo.architecture(name).min_image_size
    assert network(torch.zeros(1, 3, size, size)).shape == (1, 2)
    with pytest.raises(RuntimeError):
        network(torch.zeros(1, 3, size - 1, size - 1))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("timm/vit_small_patch14_dinov2.lvd142m", ("timm/vit_small_patch14_dinov2", "lvd142m")),
        ("timm/convnextv2_tiny.fcmae_ft_in22k_in1k_384", ("timm/convnextv2_tiny", "fcmae_ft_in22k_in1k_384")),
        ("timm/convnextv2_tiny", ("timm/convnextv2_tiny", "")),
        ("resnet50", ("resnet50", "")),
    ],
)
def test_a_tag_stands_behind_the_first_dot(name: str, parts: tuple[str, str]):
    assert zoo.split_tag(name) == parts


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("resnet5O", "resnet50"), ("ResNet50", "resnet50"), ("mobilenetv3_small", "mobilenet_v3_small")],
)
def test_an_unknown_name_suggests_the_nearest(wrong: str, meant: str):
    with pytest.raises(ModelError, match=f"{wrong}.*did you mean '{meant}'"):
        zoo.architecture(wrong)


def test_an_unknown_name_with_nothing_near_suggests_none():
    with pytest.raises(ModelError, match="scenerec models") as error:
        zoo.architecture("xyzzy")
    assert "did you mean" not in str(error.value)


@pytest.mark.parametrize(("name", "size"), [("resnet18", 1), ("alexnet", 63), ("vit_b_16", 224)])
def test_a_size_that_fits_is_accepted(name: str, size: int):
    zoo.check_image_size(name, size)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [("alexnet", 62, "at least 63 px, not 62"), ("vit_b_16", 256, "224 px only, not 256")],
)
def test_a_size_that_does_not_fit_is_refused(name: str, size: int, message: str):
    with pytest.raises(ModelError, match=message):
        zoo.check_image_size(name, size)


def test_timms_table_is_what_timm_says():
    timms = [name for name in zoo.ARCHITECTURES if name.startswith(zoo.TIMM)]
    assert timms == sorted(timms) and len(timms) >= 24
    for name in timms:
        entry, config = zoo.architecture(name), timm.get_pretrained_cfg(name.removeprefix(zoo.TIMM))
        assert (entry.head, entry.image_size) == (config.classifier, config.input_size[-1])


@pytest.mark.parametrize("name", ["timm/mobilenetv4_conv_small", "timm/vit_tiny_patch16_224"])
def test_a_row_of_timms_counts_the_network_at_1000_classes(name: str):
    shapes = torch_outline.parameter_shapes(name, 1000)
    assert sum(map(math.prod, shapes.values())) == zoo.architecture(name).parameters
    assert f"{zoo.architecture(name).head}.weight" in shapes


def test_a_size_off_the_step_is_refused_with_the_nearest():
    zoo.check_image_size("timm/vit_small_patch14_dinov2", 224)
    with pytest.raises(ModelError, match="multiple of 14 px, not 256: the nearest is 252"):
        zoo.check_image_size("timm/vit_small_patch14_dinov2", 256)


def test_the_table_needs_no_torch():
    code = "import sys, scenerec.models.zoo; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
