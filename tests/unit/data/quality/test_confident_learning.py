"""Which labels confident learning takes for wrong."""

import numpy as np
import pytest

from scenerec.data.quality.confident_learning import confident_joint, doubts, thresholds, wrong_labels


def drawn(seed: int, count: int = 240, classes: int = 4, wrong: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of somebody who is mostly right, labels of which some are wrong, and which these are."""
    draws = np.random.default_rng(seed)
    truth = draws.integers(classes, size=count)
    scores = draws.normal(size=(count, classes)) + 4 * np.eye(classes)[truth]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    rows = draws.choice(count, wrong, replace=False)
    labels = truth.copy()
    labels[rows] = (labels[rows] + draws.integers(1, classes, wrong)) % classes
    return probabilities, labels, rows


@pytest.mark.parametrize("seed", range(3))
def test_the_formulas_are_the_papers(seed: int) -> None:
    probabilities, labels, _ = drawn(seed)
    classes = probabilities.shape[1]
    means = [probabilities[labels == label, label].mean() for label in range(classes)]
    np.testing.assert_allclose(thresholds(probabilities, labels), means)
    joint = np.zeros((classes, classes), int)
    for row, label in zip(probabilities, labels, strict=True):
        if reached := [each for each in range(classes) if row[each] >= means[each]]:
            joint[label, max(reached, key=row.__getitem__)] += 1
    assert confident_joint(probabilities, labels).tolist() == joint.tolist()
    calibrated = joint / joint.sum(axis=1, keepdims=True) * np.bincount(labels)[:, None]
    assert wrong_labels(probabilities, labels) == round(calibrated.sum() - np.trace(calibrated))
    margins = [row[label] - np.delete(row, label).max() for row, label in zip(probabilities, labels, strict=True)]
    found = doubts(probabilities, labels)
    assert found.rows.tolist() == np.argsort(margins, kind="stable")[: wrong_labels(probabilities, labels)].tolist()
    assert found.likely.tolist() == probabilities[found.rows].argmax(axis=1).tolist()


def test_planted_labels_are_found() -> None:
    planted = hits = doubted = 0
    for seed in range(10):
        probabilities, labels, rows = drawn(seed, count=600, wrong=20)
        found = doubts(probabilities, labels).rows
        planted, hits, doubted = planted + 20, hits + len(np.intersect1d(found, rows)), doubted + len(found)
    assert hits > 0.85 * planted and hits > 0.95 * doubted


def test_labels_that_are_the_most_probable_are_never_doubted() -> None:
    certain = np.eye(3)[[0, 1, 2, 2]]
    assert len(doubts(certain, np.array([0, 1, 2, 2])).rows) == 0
    flat = np.full((6, 3), 1 / 3)
    assert len(doubts(flat, np.array([0, 1, 2, 0, 1, 2])).rows) == 0


def test_a_class_without_images_is_never_believed() -> None:
    probabilities = np.array([[0.2, 0.1, 0.7], [0.6, 0.2, 0.2], [0.1, 0.8, 0.1], [0.3, 0.6, 0.1]])
    labels = np.array([0, 0, 1, 1])
    assert thresholds(probabilities, labels)[2] == np.inf
    assert confident_joint(probabilities, labels)[:, 2].sum() == 0


def test_it_is_cleanlabs() -> None:
    """Where cleanlab is: `pip install cleanlab`, which brings scikit-learn and SciPy."""
    count = pytest.importorskip("cleanlab.count", reason="cleanlab is not installed: it would bring SciPy")
    rank = pytest.importorskip("cleanlab.rank")
    for seed in range(3):
        probabilities, labels, _ = drawn(seed)
        np.testing.assert_allclose(
            thresholds(probabilities, labels), count.get_confident_thresholds(labels, probabilities)
        )
        theirs = count.compute_confident_joint(labels, probabilities, calibrate=False)
        assert confident_joint(probabilities, labels).tolist() == theirs.tolist()
        theirs = count.num_label_issues(labels, probabilities, estimation_method="off_diagonal_calibrated")
        assert abs(wrong_labels(probabilities, labels) - theirs) <= 3  # it rounds each cell of the joint
        order = rank.order_label_issues(np.ones(len(labels), bool), labels, probabilities, rank_by="normalized_margin")
        found = doubts(probabilities, labels).rows
        assert found.tolist() == order[: len(found)].tolist()
