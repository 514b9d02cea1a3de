"""The block `model`: a tag of timm's names weights."""

from typing import Any

import pytest
from pydantic import ValidationError

from scenerec.config.model import ModelConfig
from scenerec.models import zoo

ARCH = "timm/vit_small_patch16_dinov3"


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(zoo.ARCHITECTURES, ARCH, zoo.Architecture(ARCH, "head", 21_600_000, 256, 6.3))


@pytest.mark.parametrize(
    "given",
    [
        {"arch": f"{ARCH}.lvd1689m"},
        {"arch": f"{ARCH}.lvd1689m", "weights": "lvd1689m"},
        {"arch": ARCH, "weights": "DEFAULT"},
    ],
)
def test_a_tag_behind_the_architecture_names_its_weights(given: dict[str, Any]) -> None:
    model = ModelConfig.model_validate(given)
    assert (model.arch, model.weights) == (ARCH, "lvd1689m")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"arch": f"{ARCH}.lvd1689m", "weights": "none"}, "arch: .*lvd1689m names its weights, and weights others"),
        ({"arch": f"{ARCH}.lvd142m"}, f"nothing was published for {ARCH} as lvd142m: did you mean lvd1689m"),
        ({"arch": "timm/vit_small_patch16_dinov4.lvd142m"}, "unknown architecture 'timm/vit_small_patch16_dinov4'"),
        ({"arch": "resnet50.a1"}, r"unknown architecture 'resnet50\.a1'"),
        ({"arch": 3}, "valid string"),
        ({"weights": "none"}, "Field required"),
    ],
)
def test_what_names_no_weights_is_refused(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        ModelConfig.model_validate(given)
