"""The linear head: a minimum whatever the features' scale, and a decay that images which are held back choose."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.training.linear_head import choose_decay, cross_entropy, fit_linear_heads, hold_back, top_share

DECAYS = (1e-4, 1e-2, 1.0)


def clusters(seed: int, per_class: int = 30, apart: float = 2.0, noise_axes: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(seed)
    labels = np.arange(3 * per_class) % 3
    centers = apart * np.random.default_rng(99).normal(size=(3, 5))
    known = centers[labels] + draws.normal(size=(len(labels), 5))
    return np.concatenate([known, draws.normal(size=(len(labels), noise_axes))], axis=1).astype(np.float32), labels


def objective(rows: np.ndarray, labels: np.ndarray, weight: np.ndarray, bias: np.ndarray, decay: float) -> float:
    return cross_entropy(rows @ weight.T + bias, labels) + decay / 2 * float((weight**2).sum())


def test_no_other_head_is_better_at_its_decay() -> None:
    rows, labels = clusters(0)
    rows = ((rows - rows.mean(axis=0)) / rows.std(axis=0)).astype(np.float64)
    draws = np.random.default_rng(1)
    for decay, head in zip(DECAYS, fit_linear_heads(rows, labels, 3, DECAYS), strict=True):
        least = objective(rows, labels, head.weight, head.bias, decay)
        for _ in range(20):
            weight, bias = (array + 1e-3 * draws.normal(size=array.shape) for array in (head.weight, head.bias))
            assert objective(rows, labels, weight, bias, decay) > least - 1e-9


def test_the_heads_take_the_features_as_they_are() -> None:
    """Whatever their scale and their offset, and a feature that never changes; each decay as if it were alone."""
    rows, labels = clusters(0)
    scaled = np.concatenate([rows * [1, 10, 0.1, 3, 1] + 7, np.full((len(rows), 1), 4.0)], axis=1)
    plain, odd = (fit_linear_heads(each, labels, 3, DECAYS) for each in (rows, scaled))
    for ours, theirs in zip(plain, odd, strict=True):
        assert theirs.logits(scaled) == pytest.approx(ours.logits(rows), abs=1e-3)
    (alone,) = fit_linear_heads(rows, labels, 3, DECAYS[:1])
    assert alone.logits(rows) == pytest.approx(plain[0].logits(rows), abs=1e-2)


def test_cross_entropy_and_shares() -> None:
    logits = np.array([[0.0, np.log(3)], [1000.0, -1000.0], [5.0, 5.0]])
    assert cross_entropy(logits, np.array([1, 0, 0])) == pytest.approx((np.log(4 / 3) + 0 + np.log(2)) / 3)
    assert top_share(logits, np.array([1, 0, 1]), 1) == pytest.approx(2 / 3)  # of equals the lower class ranks first
    assert top_share(logits, np.array([1, 1, 1]), 5) == 1


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.floats(0.01, 0.99), st.integers(0, 9))
def test_some_of_each_class_are_held_back_and_some_stay(classes: list[int], share: float, seed: int) -> None:
    labels = np.array(classes)
    held = hold_back(labels, share, seed)
    for label in set(classes):
        count, of_class = int((held & (labels == label)).sum()), classes.count(label)
        assert count == min(max(round(share * of_class), 1), of_class - 1)
    assert np.array_equal(held, hold_back(labels, share, seed))


def test_what_is_held_back_never_changes() -> None:
    """A result that is to be had again depends on it."""
    assert np.nonzero(hold_back(np.arange(20) % 2, 0.2, 0))[0].tolist() == [2, 3, 11, 18]


def test_noise_wants_decay() -> None:
    rows, labels = clusters(0, per_class=12, apart=0.6, noise_axes=60)
    decay, losses = choose_decay(rows, labels, 3, DECAYS, 0.3, seed=0)
    assert decay == 1.0 == min(losses, key=losses.__getitem__) and list(losses) == list(DECAYS)
    assert choose_decay(rows[:3], labels[:3], 3, DECAYS, 0.3, seed=0) == (1e-2, {})  # an image a class
