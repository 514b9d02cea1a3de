from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenerec.errors import BundleError, RegistryError
from scenerec.inference.bundles.info import Verification
from scenerec.inference.evaluation.predictions import ImageBatch
from scenerec.inference.evaluation.promotion import check_promotion
from scenerec.inference.predictors.onnx_predictor import OnnxPredictor
from scenerec.inference.predictors.predictor import Predictor
from tests.tiny_bundle import IMAGE_SIZE, make_tiny_bundle

VERIFIED: dict[str, Any] = {
    "verification": Verification(images=4, batch_sizes=(1,), max_difference=1e-6, top1_agreement=1.0)
}


def colours(_: Predictor) -> Iterator[ImageBatch]:
    """30 images, each mostly of its label's colour."""
    rng = np.random.default_rng(0)
    for _ in range(3):
        images = rng.integers(0, 100, (10, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
        labels = np.arange(10) % 3
        images[np.arange(10), :, :, labels] += 100
        yield ImageBatch(images, labels)


def test_the_first_version_needs_only_its_golden_images(tmp_path: Path) -> None:
    evidence = check_promotion(make_tiny_bundle(tmp_path / "a", **VERIFIED), None, OnnxPredictor, colours, 0.5)
    assert evidence.golden_difference < 1e-5
    assert evidence.comparison is None
    assert str(evidence).startswith("answers its golden images")


def test_an_equal_version_passes_with_the_figures(tmp_path: Path) -> None:
    candidate, holder = (make_tiny_bundle(tmp_path / name, **VERIFIED) for name in ("a", "b"))
    evidence = check_promotion(candidate, holder, OnnxPredictor, colours, 0.0)
    assert evidence.top1 == (1.0, 1.0)
    assert "top-1 100.00% against 100.00% before, on the same 30 images" in str(evidence)


def test_a_worse_version_is_refused_but_by_how_much_is_the_users_choice(tmp_path: Path) -> None:
    worse, holder = make_tiny_bundle(tmp_path / "a", scale=-0.05, **VERIFIED), make_tiny_bundle(tmp_path / "b")
    with pytest.raises(RegistryError, match=r"top-1 0.00% is more than 0.5 points below 100.00% of .*not promoted"):
        check_promotion(worse, holder, OnnxPredictor, colours, 0.5)
    assert check_promotion(worse, holder, OnnxPredictor, colours, 100).top1 == (0.0, 1.0)


def test_one_that_does_not_answer_its_golden_images_is_refused(tmp_path: Path) -> None:
    changed = make_tiny_bundle(tmp_path / "a", answered=0.1, **VERIFIED)
    with pytest.raises(BundleError, match=r"does not answer its golden images: logits differ by 5.0e-01 of"):
        check_promotion(changed, None, OnnxPredictor, colours, 0.5)


def test_one_that_was_never_verified_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="was never verified against its framework"):
        check_promotion(make_tiny_bundle(tmp_path / "a"), None, OnnxPredictor, colours, 0.5)


def test_other_labels_are_refused(tmp_path: Path) -> None:
    renamed = make_tiny_bundle(tmp_path / "a", labels=("rot", "gruen", "blau"), **VERIFIED)
    with pytest.raises(RegistryError, match="has other labels than"):
        check_promotion(renamed, make_tiny_bundle(tmp_path / "b"), OnnxPredictor, colours, 0.5)
