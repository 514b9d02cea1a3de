"""Image and place, from training to a bundle: what only the place tells apart is told apart, and only with it."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenerec.data.packed_set import open_set
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.synthetic import draw_scenes
from scenerec.data.synthetic_coordinates import COORDINATES_FILE
from scenerec.export.exporter import export
from scenerec.export.options import Options
from scenerec.export.source import open_source
from scenerec.inference.bundles.bundle import open_bundle
from scenerec.inference.evaluation.images import Preparation, image_batches
from scenerec.inference.predictors.golden import check_golden
from scenerec.inference.predictors.open_predictor import predictor_of
from tests.conftest import small_config
from tests.local_run import train_here

SIZE = 32
MODEL: dict[str, Any] = {"arch": "resnet18", "freeze": "backbone"}
GEO = {"width": 32, "blocks": 1, "time": True}
OPTIMIZE = {"epochs": 8, "optimizer": "adamw", "lr": 0.01}


def top1(logits: np.ndarray, labels: np.ndarray) -> float:
    return float((logits.argmax(1) == labels).mean())


@pytest.mark.parametrize("framework", ["torch", pytest.param("tensorflow", marks=pytest.mark.matrix)])
def test_place_tells_scenes_apart_that_look_alike(located_scenes: Path, tmp_path: Path, framework: str) -> None:
    """Four classes, of which two look alike each: by their images alone no network knows more than half of them."""
    make: Any = partial(small_config, located_scenes, tmp_path / "runs", framework=framework, optimize=OPTIMIZE)
    by_image = train_here(make(name="image", model=MODEL))
    fused = train_here(make(name="fused", model={**MODEL, "geo": GEO}))
    print(f"{framework}: top-1 {fused['best']['val_top1']:.1%}, by the image alone {by_image['best']['val_top1']:.1%}")
    assert 0.35 < by_image["best"]["val_top1"] < 0.7
    assert fused["best"]["val_top1"] > 0.9

    export(open_source(fused["run"]), str(tmp_path / "bundle"), Options(images=16))
    bundle = open_bundle(str(tmp_path / "bundle"))
    assert bundle.info.takes_coordinates
    assert bundle.info.verification is not None and bundle.info.verification.max_difference < 1e-5
    predictor = predictor_of(bundle)
    check_golden(predictor, bundle)
    (batch,) = image_batches(open_set(f"{located_scenes}/val"), range(36), Preparation(SIZE, 0.875), 36)
    with_places = predictor.logits(batch.images, batch.coordinates)
    assert top1(with_places, batch.labels) == pytest.approx(fused["best"]["val_top1"], abs=0.03)
    assert top1(predictor.logits(batch.images), batch.labels) < 0.7


@pytest.mark.matrix
@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
@pytest.mark.parametrize("fusion", ["logits", "concat", "modulate"])
def test_places_that_tell_nothing_do_no_harm(tmp_path: Path, fusion: str, framework: str) -> None:
    """To some points: 200 images are few enough to learn some places by heart."""
    folder = tmp_path / "noise"
    draw_scenes(folder, classes=4, train_per_class=50, val_per_class=50, size=64, seed=1, coordinates="noise")
    pack(PackRequest(source=folder, destination=str(tmp_path / "packed"), coordinates=folder / COORDINATES_FILE))
    make: Any = partial(small_config, tmp_path / "packed", tmp_path / "runs", framework=framework, optimize=OPTIMIZE)
    by_image = train_here(make(name="image", model=MODEL))["best"]["val_top1"]
    fused = train_here(make(name="fused", model={**MODEL, "geo": {**GEO, "fusion": fusion}}))["best"]["val_top1"]
    print(f"{framework}, {fusion}: top-1 {fused:.1%} with places that are noise, {by_image:.1%} by the image alone")
    assert fused > by_image - 0.1 > 0.4
