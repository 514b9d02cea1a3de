import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.errors import BundleError, RegistryError
from scenerec.inference.bundles.info import Verification
from scenerec.inference.evaluation.predictions import ImageBatch
from scenerec.inference.evaluation.promotion import check_promotion, is_worse
from scenerec.inference.evaluation.significance import Comparison, compare
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
    assert "top-1 100.00% against 100.00% on the same 30 images, right on the same ones" in str(evidence)
    assert evidence.is_best


def test_a_worse_version_is_refused_but_by_how_much_is_the_users_choice(tmp_path: Path) -> None:
    worse, holder = make_tiny_bundle(tmp_path / "a", scale=-0.05, **VERIFIED), make_tiny_bundle(tmp_path / "b")
    said = (
        r"is worse than .*: top-1 0\.00% against 100\.00% on the same 30 images: -100\.00 points "
        r"\(95 % interval .*\), more than chance explains \(p < 0\.0001\), and at most 0\.5 points may be lost"
    )
    with pytest.raises(RegistryError, match=said):
        check_promotion(worse, holder, OnnxPredictor, colours, 0.5)
    evidence = check_promotion(worse, holder, OnnxPredictor, colours, 100)
    assert evidence.top1 == (0.0, 1.0) and not evidence.is_best


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


def outcome(images: int, only_candidate: int, only_baseline: int) -> Comparison:
    """Of two models over so many images, where each alone is right on some, and both on the others."""
    labels = np.zeros(images, int)
    candidate, baseline = labels.copy(), labels.copy()
    baseline[:only_candidate] = 1
    candidate[only_candidate : only_candidate + only_baseline] = 1
    return compare(labels, candidate, baseline)


@pytest.mark.parametrize(
    ("images", "only_candidate", "only_baseline", "max_top1_drop", "worse"),
    [
        (176, 0, 1, 0.5, False),  # 0.57 points, p = 1
        (176, 0, 5, 0.5, False),  # 2.8 points, p = 0.06
        (176, 0, 6, 0.5, True),  # 3.4 points, p = 0.03
        (176, 0, 6, 5.0, False),  # within what may be lost
        (176, 20, 28, 0.5, False),  # p = 0.3
        (176, 8, 27, 0.5, True),  # 10.8 points, p = 0.002
        (36_500, 500, 600, 0.5, False),  # 0.27 points, p = 0.003: no chance, but within what may be lost
        (36_500, 500, 600, 0.0, True),
        (36_500, 500, 700, 0.5, True),  # 0.55 points
        (5, 0, 5, 0.5, True),  # p = 0.06, and all is lost
        (20, 0, 2, 0.5, False),  # 10 points, p = 0.5
        (20, 0, 3, 0.5, True),  # 15 points, p = 0.25: too much to chance it
        (200, 0, 1, 0.5, False),
        (30, 0, 0, 0.0, False),
        (30, 30, 0, 0.0, False),
    ],
)
def test_worse_is_what_is_no_chance_and_more_than_may_be_lost(
    images: int, only_candidate: int, only_baseline: int, max_top1_drop: float, worse: bool
) -> None:
    assert is_worse(outcome(images, only_candidate, only_baseline), max_top1_drop) == worse


@given(st.data())
def test_what_is_not_behind_is_never_worse_and_what_is_worse_stays_so_with_more_mistakes(data: st.DataObject) -> None:
    images = data.draw(st.integers(1, 400))
    only_candidate = data.draw(st.integers(0, images))
    only_baseline = data.draw(st.integers(0, images - only_candidate))
    margin = data.draw(st.floats(0, 100))
    worse = is_worse(outcome(images, only_candidate, only_baseline), margin)
    if only_candidate >= only_baseline:
        assert not worse
    if worse and only_candidate + only_baseline < images:
        assert is_worse(outcome(images, only_candidate, only_baseline + 1), margin)


def test_what_few_images_cannot_tell_is_said(tmp_path: Path) -> None:
    def three(_: Predictor) -> Iterator[ImageBatch]:
        yield ImageBatch(np.eye(3, dtype=np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2) * 200, np.arange(3))

    worse, baseline = make_tiny_bundle(tmp_path / "a", scale=-0.05, **VERIFIED), make_tiny_bundle(tmp_path / "b")
    with pytest.raises(RegistryError, match=r"which 3 images cannot tell from chance.*name a larger set with --data"):
        check_promotion(worse, baseline, OnnxPredictor, three, 0.5)


def test_versions_that_are_each_a_little_worse_are_stopped() -> None:
    """Each is right on one image of 176 fewer than the one before, which alone would be chance for ever."""
    taken = list(itertools.takewhile(lambda mistakes: not is_worse(outcome(176, 0, mistakes), 0.5), range(1, 100)))
    assert taken == [1, 2, 3, 4, 5]
