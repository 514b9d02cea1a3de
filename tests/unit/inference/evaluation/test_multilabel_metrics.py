"""The formulas of multi-label figures against their definitions, word for word, and against scikit-learn's values."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from scenerec.inference.evaluation import multilabel_metrics as formulas
from scenerec.inference.predictors.predictor import DEFAULT_THRESHOLD, sigmoid

SHAPE = (9, 3)
scores = arrays(np.float32, SHAPE, elements=st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.25, 1.0, 3.0]))  # with ties
labels = arrays(np.bool_, SHAPE)


def defined_average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """Over each threshold that is a score, from the highest: (recall - recall before) * precision."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        is_given = scores >= threshold
        right = int((is_given & labels).sum())
        recall = right / labels.sum()
        total += (recall - before) * right / is_given.sum()
        before = recall
    return total


@settings(max_examples=30)
@given(scores, labels)
def test_average_precision_is_that_of_its_definition(scores: np.ndarray, labels: np.ndarray) -> None:
    found = formulas.average_precisions(scores, labels)
    for column in range(SHAPE[1]):
        if labels[:, column].any():
            assert found[column] == pytest.approx(defined_average_precision(scores[:, column], labels[:, column]))
        else:
            assert np.isnan(found[column])
    mean = formulas.mean_average_precision(scores, labels)
    assert (np.isnan(mean) and not labels.any()) or mean == pytest.approx(np.nanmean(found))


@settings(max_examples=30)
@given(scores, labels, st.permutations(range(SHAPE[0])))
def test_no_figure_depends_on_the_order_of_the_samples(scores: np.ndarray, labels: np.ndarray, order: Any) -> None:
    ours, theirs = (scores, labels), (scores[order], labels[order])
    for formula in (formulas.average_precisions, formulas.best_thresholds):
        np.testing.assert_array_equal(formula(*ours), formula(*theirs))


@settings(max_examples=30)
@given(scores, labels)
def test_no_threshold_has_a_higher_f1_than_the_best(scores: np.ndarray, labels: np.ndarray) -> None:
    probabilities = sigmoid(scores)
    best = formulas.best_thresholds(probabilities, labels)
    found = formulas.precision_recall_f1(probabilities >= best, labels)[2]
    for threshold in (*np.unique(probabilities).tolist(), 0.0, 1.0):
        others = formulas.precision_recall_f1(probabilities >= np.float32(threshold), labels)[2]
        assert (found[labels.any(axis=0)] >= others[labels.any(axis=0)] - 1e-12).all()
    assert (best[~labels.any(axis=0)] == DEFAULT_THRESHOLD).all()


def test_a_threshold_lies_in_the_middle_between_what_it_parts() -> None:
    probabilities = np.array([[0.9], [0.8], [0.4], [0.1]], np.float32)
    assert formulas.best_thresholds(probabilities, np.array([[1], [1], [0], [0]], bool)) == pytest.approx([0.6])
    assert formulas.best_thresholds(probabilities, np.ones((4, 1), bool)) == pytest.approx([0.05])


def test_figures_are_those_of_scikit_learn() -> None:
    """Of version 1.9.1: average_precision_score, f1_score and precision_recall_fscore_support (zero_division=0)."""
    rng = np.random.default_rng(5)
    labels = rng.random((40, 4)) < (0.5, 0.2, 0.1, 0.4)
    scores = np.round(rng.normal(size=(40, 4)) + labels, 1).astype(np.float32)
    is_given = scores >= 0.5
    found = (
        *formulas.average_precisions(scores, labels),
        formulas.mean_average_precision(scores, labels),
        formulas.micro_f1(is_given, labels),
        *np.concatenate(formulas.precision_recall_f1(is_given, labels)),
    )
    np.testing.assert_allclose(found, SCIKIT_LEARN, rtol=0, atol=1e-9)


SCIKIT_LEARN = (
    *(0.611703007570, 0.345363408521, 0.425000000000, 0.799835342218, 0.545475439577, 0.495726495726),
    *(0.625000000000, 0.190476190476, 0.076923076923, 0.666666666667),
    *(0.555555555556, 0.800000000000, 0.333333333333, 0.700000000000),
    *(0.588235294118, 0.307692307692, 0.125000000000, 0.682926829268),
)


def test_probabilities_of_any_logit_are_numbers() -> None:
    found = sigmoid(np.array([-1e4, -1.0, 0.0, 1.0, 1e4], np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [0, 1 / (1 + np.e), 0.5, np.e / (1 + np.e), 1], atol=1e-7)


@settings(max_examples=30)
@given(scores, labels)
def test_the_loss_is_that_of_its_definition(scores: np.ndarray, labels: np.ndarray) -> None:
    shares = 1 / (1 + np.exp(-scores.astype(np.float64)))
    expected = -(labels * np.log(shares) + ~labels * np.log1p(-shares)).mean()
    assert formulas.mean_loss(scores, labels) == pytest.approx(expected)
    assert np.isfinite(formulas.mean_loss(scores * 1e4, labels))
