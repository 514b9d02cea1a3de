"""Measures of embeddings: their values where these are known, and a collapse that they show."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.training.embeddings import effective_rank, embedding_std, knn_accuracy, linear_probe_accuracy
from scenerec.training.lbfgs import minimize


def normal(rows: int, axes: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, axes)).astype(np.float32)


def clusters(per_class: int, seed: int, apart: float = 2.0, classes: int = 4, axes: int = 8) -> tuple:
    centers = apart * np.random.default_rng(99).normal(size=(classes, axes))
    labels = np.arange(classes * per_class) % classes
    return centers[labels] + np.random.default_rng(seed).normal(size=(len(labels), axes)), labels


@pytest.mark.parametrize("axes", [8, 64])
def test_embeddings_that_fill_the_sphere_deviate_by_one_over_the_root_of_its_axes(axes: int) -> None:
    assert embedding_std(normal(20_000, axes)) == pytest.approx(axes**-0.5, rel=0.01)
    assert effective_rank(normal(20_000, axes)) == pytest.approx(axes, rel=0.01)


def test_a_collapse_is_seen() -> None:
    point = np.ones((50, 8)) * np.linspace(1, 9, 50)[:, None]  # of different lengths, in one direction
    assert embedding_std(point) < 1e-12
    assert effective_rank(point) == pytest.approx(1)
    plane = normal(50, 2) @ normal(2, 8, seed=1)
    assert 1.5 < effective_rank(plane) <= 2
    assert effective_rank(np.zeros((5, 3))) == 0 == embedding_std(np.zeros((5, 3)))


@given(st.integers(1, 12), st.integers(1, 12), st.floats(0.1, 10))
def test_the_effective_rank_lies_between_one_and_the_rank_whatever_the_scale(rows: int, axes: int, by: float) -> None:
    rank = effective_rank(normal(rows, axes))
    assert 1 - 1e-9 <= rank <= min(rows, axes) + 1e-9
    assert effective_rank(by * normal(rows, axes).astype(float)) == pytest.approx(rank)


def test_equal_singular_values_count_each() -> None:
    assert effective_rank(3 * np.eye(6)) == pytest.approx(6)
    halves = np.diag([1, 1, 0, 0.0])
    assert effective_rank(halves) == pytest.approx(2)


def test_at_a_low_temperature_the_nearest_alone_votes() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 64))
    train, test = (np.repeat(centres, 20, axis=0) + rng.normal(size=(60, 64)) for _ in range(2))
    labels = np.repeat(np.arange(3), 20)
    nearest = knn_accuracy(train, labels, test, labels, 1)
    assert knn_accuracy(train, labels, test, labels, 20, temperature=1e-6) == nearest > 0.9


def knn_by_hand(train: np.ndarray, labels: np.ndarray, test: np.ndarray, wanted: np.ndarray, k: int) -> float:
    """Wu et al. 2018, section 3.4, image by image."""
    right = 0
    for row, label in zip(test, wanted, strict=True):
        cosines = train @ row / np.linalg.norm(train, axis=1) / np.linalg.norm(row)
        votes: dict[int, float] = {}
        for index in np.argsort(-cosines)[:k]:
            votes[labels[index]] = votes.get(labels[index], 0) + np.exp(cosines[index] / 0.07)
        right += max(votes, key=lambda name: votes[name]) == label
    return right / len(test)


@pytest.mark.parametrize("neighbors", [1, 5, 40, 200])
def test_nearest_neighbours_vote(neighbors: int) -> None:
    train, labels = clusters(10, 0, apart=0.4)
    test, wanted = clusters(300, 1, apart=0.4)  # more than are compared at a time
    found = knn_accuracy(train, labels, test, wanted, neighbors)
    assert found == knn_by_hand(train, labels, test, wanted, neighbors)
    assert 0.3 < found < 0.9


@pytest.mark.parametrize("neighbors", [1, 5, 200])
def test_of_one_set_no_image_is_its_own_neighbour(neighbors: int) -> None:
    rows, labels = clusters(30, 0, apart=0.4)
    by_hand = [
        knn_by_hand(*(np.delete(each, row, 0) for each in (rows, labels)), rows[[row]], labels[[row]], neighbors)
        for row in range(len(rows))
    ]
    found = knn_accuracy(rows, labels, rows, labels, neighbors, is_one_set=True)
    assert found == pytest.approx(np.mean(by_hand)) and found < 0.9
    many, wanted = clusters(300, 1, apart=0.4)  # more than are compared at a time
    assert knn_accuracy(many, wanted, many, wanted, 1, is_one_set=True) < 0.9


def test_a_probe_finds_what_is_linear_and_nothing_in_noise() -> None:
    train, labels = clusters(60, 0)
    test, wanted = clusters(60, 1)
    assert linear_probe_accuracy(train, labels, test, wanted) > 0.97
    assert linear_probe_accuracy(normal(240, 8), labels, normal(240, 8, 1), wanted) < 0.4
    assert linear_probe_accuracy(np.zeros((240, 8)), labels, np.zeros((240, 8)), wanted) == pytest.approx(0.25)


def test_a_probe_does_not_depend_on_the_features_scale() -> None:
    train, labels = clusters(30, 0, apart=0.5)
    test, wanted = clusters(30, 1, apart=0.5)
    scale = np.geomspace(1e-3, 1e3, 8)
    plain = linear_probe_accuracy(train, labels, test, wanted)
    assert linear_probe_accuracy(train * scale + 5, labels, test * scale + 5, wanted) == plain


@given(st.integers(1, 8), st.integers(0, 100))
def test_lbfgs_finds_the_bottom_of_a_bowl(axes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    root, bottom = rng.normal(size=(axes, axes)), rng.normal(size=axes)
    bowl = root @ root.T + 0.1 * np.eye(axes)
    found = minimize(lambda x: (float((x - bottom) @ bowl @ (x - bottom)) / 2, bowl @ (x - bottom)), np.zeros(axes))
    np.testing.assert_allclose(found, bottom, atol=1e-3)


def test_lbfgs_follows_rosenbrocks_valley() -> None:
    def valley(x: np.ndarray) -> tuple[float, np.ndarray]:
        bend = x[1] - x[0] ** 2
        return float((1 - x[0]) ** 2 + 100 * bend**2), np.array([2 * (x[0] - 1) - 400 * x[0] * bend, 200 * bend])

    np.testing.assert_allclose(minimize(valley, np.array([-1.2, 1.0])), [1, 1], atol=1e-4)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_features_of_a_run_that_has_diverged_end_nothing(odd: float) -> None:
    features, labels = clusters(per_class=5, seed=0)
    features[3, 1] = odd
    assert np.isnan(effective_rank(features)) and np.isnan(embedding_std(features))
    assert linear_probe_accuracy(features, labels, features, labels) == 0
