"""Where a job's weights come from, and what is asked before they are fetched."""

from pathlib import Path

import pytest

from scenerec.errors import ModelError
from scenerec.models.weights.licences import ACCEPTING_VARIABLE
from scenerec.training.weight_source import WeightSource


@pytest.mark.parametrize(
    ("field", "key"),
    [
        ("model.weights", "set model.accept_licence: true, or "),
        ("backbones.2.weights", "set backbones.2.accept_licence: true, or "),
        ("optimize.distill.teacher", "or "),  # for whom no key of the file accepts
    ],
)
def test_a_licence_is_asked_for_by_the_key_that_accepts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str, key: str
) -> None:
    monkeypatch.delenv(ACCEPTING_VARIABLE, raising=False)
    source = WeightSource(field, "lvd1689m", str(tmp_path), "timm/vit_small_patch16_dinov3")
    with pytest.raises(ModelError) as refused, source.open(download=True):
        pass
    told = str(refused.value)
    assert told.startswith(f"{field}: lvd1689m: their owner asks")
    assert f"then add --accept-licence to `scenerec submit`, {key}set {ACCEPTING_VARIABLE}=DINOv3 in the" in told
