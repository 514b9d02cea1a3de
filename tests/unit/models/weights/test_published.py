import re
import subprocess
import sys

import pytest
import torchvision

from scenerec.errors import ModelError
from scenerec.models import zoo
from scenerec.models.weights import published
from scenerec.models.weights.published import PublishedWeights, find_weights, published_weights

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
        )
        for weights in enum
        if weights.meta["categories"] is not None
    ]


@pytest.mark.parametrize("arch", zoo.TORCHVISION)
def test_the_table_is_what_torchvision_publishes(arch: str):
    assert [entry for entry in published_weights(arch) if entry.name != "places365"] == torchvisions(arch)


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
    assert {entry.arch for entry in entries if entry.fits} == set(zoo.TORCHVISION)
    assert len({entry.url.rpartition("/")[2] for entry in entries}) == len(entries)


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
