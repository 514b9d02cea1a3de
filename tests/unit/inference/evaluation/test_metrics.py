import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.inference.evaluation.metrics import (
    assess,
    calibration_error,
    class_accuracies,
    confusion_counts,
    confusions,
    mean_class_accuracy,
    reliability_bins,
    top_k_accuracy,
)
from scenerec.inference.evaluation.predictions import Clock, Predictions, from_logits

NAMES = ("beach", "city", "forest", "lake")


@st.composite
def answers(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """(labels, logits, classes)"""
    classes, samples = draw(st.integers(1, 8)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    logits = rng.normal(0, 3, (samples, classes)).round(draw(st.integers(0, 3)))  # rounded: ties
    return rng.integers(0, classes, samples), logits.astype(np.float32), classes


def predictions(labels: np.ndarray, logits: np.ndarray, clock: Clock | None = None) -> Predictions:
    return from_logits("model", 0, labels, logits, False, clock or Clock(0, 2, 0, 0))


@given(answers())
def test_the_figures_agree_with_their_definitions(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    labels, logits, classes = case
    names = tuple(f"class {index}" for index in range(classes))
    found = assess(predictions(labels, logits), names)
    exponents = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probabilities = exponents / exponents.sum(axis=1, keepdims=True)
    right = logits.argmax(axis=1) == labels
    assert found.top1 == right.mean()
    assert found.top1 <= found.top5 <= 1
    assert found.top5 == 1 or classes > 5
    assert found.loss == pytest.approx(-np.log(probabilities[np.arange(len(labels)), labels]).mean(), rel=1e-5)
    assert found.mean_confidence == pytest.approx(probabilities.max(axis=1).mean(), rel=1e-5)
    present = np.unique(labels)
    assert found.mean_class_accuracy == pytest.approx(np.mean([right[labels == label].mean() for label in present]))
    assert sum(each.samples for each in found.classes) == sum(each.predicted for each in found.classes) == len(labels)
    assert sum(each.correct for each in found.classes) == right.sum()
    assert sum(pair.count for pair in found.confusions) == (~right).sum()  # at most 8 x 7 pairs: those listed, or few
    assert sum(each.samples for each in found.reliability) == len(labels)
    assert 0 <= found.calibration_error <= 1
    assert abs(found.mean_confidence - found.top1) <= found.calibration_error + 1e-6  # the triangle inequality


def test_top_k_counts_the_first_k() -> None:
    ranked = np.array([[0, 1, 2], [1, 0, 2], [2, 1, 0]])
    labels = np.array([0, 0, 0])
    assert [top_k_accuracy(labels, ranked, k) for k in (1, 2, 3, 5)] == pytest.approx([1 / 3, 2 / 3, 1, 1])


def test_equal_logits_rank_by_class_index() -> None:
    found = predictions(np.array([1]), np.zeros((1, 7), np.float32))
    assert found.ranked.tolist() == [[0, 1, 2, 3, 4]]


def test_confusions_come_the_most_frequent_first() -> None:
    labels = np.array([0] * 5 + [1] * 10 + [2] * 5 + [3])
    predicted = np.array([1, 1, 0, 0, 0] + [2, 2] + [1] * 8 + [0, 0, 0, 2, 2] + [3])
    counts = confusion_counts(labels, predicted, 4)
    pairs = [(pair.label, pair.predicted, pair.count, pair.share) for pair in confusions(counts, NAMES)]
    assert pairs == [("forest", "beach", 3, 0.6), ("beach", "city", 2, 0.4), ("city", "forest", 2, 0.2)]
    assert [each.accuracy for each in class_accuracies(counts, NAMES)] == [0.6, 0.8, 0.4, 1.0]


def test_a_class_without_samples_has_no_accuracy() -> None:
    counts = confusion_counts(np.array([0, 0]), np.array([0, 1]), 4)
    assert [each.accuracy for each in class_accuracies(counts, NAMES)] == [0.5, None, None, None]
    assert mean_class_accuracy(counts) == 0.5


def test_calibration_on_a_known_case() -> None:
    """Two bins: 4 images 0.95 sure of which 2 are right, 1 image 0.55 sure and right."""
    bins = reliability_bins(np.array([0.95] * 4 + [0.55]), np.array([True, True, False, False, True]), bins=10)
    assert [each.samples for each in bins] == [0, 0, 0, 0, 0, 1, 0, 0, 0, 4]
    assert calibration_error(bins) == pytest.approx(0.8 * 0.45 + 0.2 * 0.45)


def test_bins_hold_their_upper_bound() -> None:
    bins = reliability_bins(np.array([0.2, 0.20001, 1.0]), np.ones(3, bool), bins=5)
    assert [each.samples for each in bins] == [1, 1, 0, 0, 1]


@given(st.integers(0, 2**32 - 1))
def test_a_model_that_is_as_sure_as_it_is_right_is_calibrated(seed: int) -> None:
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.2, 1, 20_000)
    error = calibration_error(reliability_bins(confidence, rng.random(20_000) < confidence))
    assert error < 0.03


def test_speed_counts_all_workers_and_the_model_without_its_first_batch() -> None:
    labels, logits = np.zeros(20, np.int64), np.zeros((20, 2), np.float32)
    found = assess(predictions(labels, logits, Clock(100, 102, 16, 0.5)), NAMES[:2])
    assert (found.images_per_s, found.model_images_per_s) == (10, 32)
    assert assess(predictions(labels, logits), NAMES[:2]).model_images_per_s is None
    assert math.isfinite(found.loss)
