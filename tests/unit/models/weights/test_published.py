import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torchvision

from scenerec.data.augment import center_crop
from scenerec.errors import ModelError
from scenerec.models import zoo
from scenerec.models.weights import published
from scenerec.models.weights.published import PublishedWeights, find_weights, published_weights
from tests.bench import timm_weights

LICENCES_OF = {
    "torchvision's own": "BSD-3-Clause",
    "https://github.com/facebookresearch/SWAG/blob/main/LICENSE": "CC-BY-NC-4.0",
}


def torchvisions(arch: str) -> list[PublishedWeights]:
    """The rows of an architecture, from torchvision's enums, without those of a backbone alone."""
    enum = torchvision.models.get_model_weights(arch)
    return [
        PublishedWeights(
            arch=arch,
            name=weights.name,
            default=weights is enum.DEFAULT,
            url=weights.url,
            sha256=re.search(r"-([0-9a-f]{8,})\.\w+$", weights.url)[1],
            classes=len(weights.meta["categories"]),
            image_size=weights.transforms.keywords["crop_size"],
            top1=weights.meta["_metrics"]["ImageNet-1K"]["acc@1"],
            top5=weights.meta["_metrics"]["ImageNet-1K"]["acc@5"],
            licence=LICENCES_OF[weights.meta.get("license", "torchvision's own")],
            interpolation=weights.transforms().interpolation.value,
            eval_crop_ratio=pytest.approx(
                weights.transforms().crop_size[0] / weights.transforms().resize_size[0], abs=1e-5
            ),
        )
        for weights in enum
        if weights.meta["categories"] is not None
    ]


@pytest.mark.parametrize("arch", zoo.TORCHVISION)
def test_the_table_is_what_torchvision_publishes(arch: str):
    assert [entry for entry in published_weights(arch) if entry.name != "places365"] == torchvisions(arch)


@pytest.mark.parametrize("arch", zoo.ARCHITECTURES)
def test_photographs_are_resized_to_the_pixel_as_torchvision_does(arch: str):
    for entry in published_weights(arch):
        if not arch.startswith(zoo.TIMM) and entry.name != "places365":
            transforms = torchvision.models.get_model_weights(arch)[entry.name].transforms()
            resized = center_crop(2000, 1000, entry.image_size, entry.eval_crop_ratio)
            assert resized.width == transforms.resize_size[0]


def test_the_table_is_what_timm_publishes():
    """But for the accuracies, which are not in the package: `make timm-weights` reads them from timm's repository."""
    table = [entry for entry in published.all_published() if entry.arch.startswith(zoo.TIMM)]
    assert [replace(entry, top1=None, top5=None) for entry in table] == list(timm_weights.rows({}))
    assert len(table) > 100 and {entry.interpolation for entry in table} == {"bilinear", "bicubic"}
    accurate = next(entry for entry in table if entry.name == "fcmae_ft_in22k_in1k_384" and "tiny" in entry.arch)
    assert (accurate.top1, accurate.image_size, accurate.eval_crop_ratio) == (85.098, 384, 1)
    clip = next(entry for entry in table if entry.name == "openai").preprocessing
    assert clip.mean == (0.48145466, 0.4578275, 0.40821073) and clip.interpolation == "bicubic"


def test_the_places365_projects_networks():
    entries = [entry for arch in zoo.ARCHITECTURES for entry in published_weights(arch) if entry.name == "places365"]
    assert [entry.arch for entry in entries] == ["alexnet", "densenet161", "resnet18", "resnet50"]
    assert {(entry.classes, entry.sha256, entry.default, entry.licence) for entry in entries} == {
        (365, "", False, "CC-BY")
    }
    assert entries[2].url == "http://places2.csail.mit.edu/models_places365/resnet18_places365.pth.tar"


def test_an_architecture_may_have_no_published_weights(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(zoo.ARCHITECTURES, "lenet", zoo.Architecture("lenet", "fc", 60_000, 224, 0.001))
    assert published.best_weights("lenet") is None
    with pytest.raises(ModelError, match="nothing was published for lenet: take `none`, or the path or URL"):
        find_weights("lenet", "DEFAULT")


def test_every_architecture_has_weights_that_it_can_take_and_files_have_names_of_their_own():
    entries = [entry for arch in zoo.ARCHITECTURES for entry in published_weights(arch)]
    assert {entry.arch for entry in entries if entry.fits} >= set(zoo.TORCHVISION)
    assert len({entry.file for entry in published.all_published()}) == len(published.all_published())
    assert "convnextv2_tiny.fcmae.safetensors" in {entry.file for entry in published.all_published()}


def test_every_published_normalisation_is_imagenets_or_converted_by_the_network():
    other = {
        arch
        for arch in zoo.TORCHVISION
        for weights in torchvision.models.get_model_weights(arch)
        if weights.meta["categories"] is not None and weights.transforms().mean != [0.485, 0.456, 0.406]
    }
    assert other == {"efficientnet_v2_l"}  # see torch_model


def test_a_name_or_default_finds_them():
    assert find_weights("resnet50", "IMAGENET1K_V1").url.endswith("/resnet50-0676ba61.pth")
    assert find_weights("resnet50", "DEFAULT").name == "IMAGENET1K_V2"
    assert find_weights("resnet50", "places365").classes == 365


@pytest.mark.parametrize(
    ("arch", "name", "message"),
    [
        ("resnet18", "IMAGENET1K_V2", "for resnet18 as IMAGENET1K_V2: did you mean IMAGENET1K_V1.*V1, places365; of a"),
        ("vgg11", "places365", r"there are IMAGENET1K_V1; of a file or folder write the whole path, such as \./places"),
        ("vit_h_14", "DEFAULT", "E2E_V1 of vit_h_14 is for images of 518 px.*there are IMAGENET1K_SWAG_LINEAR_V1$"),
    ],
)
def test_other_names_are_answered_with_those_that_there_are(arch: str, name: str, message: str):
    with pytest.raises(ModelError, match=message):
        find_weights(arch, name)


@pytest.mark.parametrize("location", ["s3://b/x", "./weights", "x.pth", "$HOME", "~", "/a", "https://h/x.pth"])
def test_locations_are_no_names(location: str):
    assert not published.is_name(location)


def test_the_table_needs_nothing_heavy():
    code = "import sys, scenerec.models.weights.published as p; p.find_weights('resnet18', 'DEFAULT')\n"
    code += "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
