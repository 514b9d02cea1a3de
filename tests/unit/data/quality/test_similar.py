"""Which pictures a model hardly tells apart."""

import numpy as np
import pytest

from scenerec.data.finding_kinds import Kind
from scenerec.data.quality.facts import PictureFacts
from scenerec.data.quality.similar import nearest_of_class, similar


@pytest.mark.parametrize("seed", range(3))
def test_the_nearest_is_that_of_all_pairs(seed: int) -> None:
    draws = np.random.default_rng(seed)
    rows, labels = draws.normal(size=(40, 5)), draws.integers(0, 5, 40)
    labels[7] = 9  # alone
    centered = rows - rows.mean(axis=0)
    unit = centered / np.linalg.norm(centered, axis=1, keepdims=True)
    apart = np.where((labels[:, None] == labels) & ~np.eye(40, dtype=bool), 1 - unit @ unit.T, np.inf)
    nearest, ratios = nearest_of_class(rows, labels)
    assert nearest[7] == -1 and ratios[7] == 1
    others = np.arange(40) != 7
    assert nearest[others].tolist() == apart.argmin(axis=1)[others].tolist()
    first, second = np.sort(apart, axis=1)[others, :2].T
    np.testing.assert_allclose(ratios[others], first / second, rtol=1e-3)


def test_of_two_that_are_near_training_s_is_named() -> None:
    draws = np.random.default_rng(0)
    rows = draws.normal(size=(30, 64))
    places = [
        ("train" if number < 20 else "val", f"{number:02}.jpg", "sea" if number % 2 else "hut") for number in range(30)
    ]
    pictures = [PictureFacts(f"{split}/{name}", split, class_name, b"") for split, name, class_name in places]
    rows[4] = rows[22] + 0.01 * draws.normal(size=64)  # train and val
    rows[9] = rows[3] + 0.01 * draws.normal(size=64)  # both of train
    rows[6] = rows[11] + 0.01 * draws.normal(size=64)  # of two classes
    found = similar(pictures, rows)
    assert {(each.path, each.twin) for each in found} == {
        ("train/04.jpg", "val/22.jpg"),
        ("train/09.jpg", "train/03.jpg"),
    }
    assert all(each.kind is Kind.SIMILAR and " as far from " in each.detail for each in found)


def test_pictures_that_are_all_apart_or_all_the_same_are_not_named() -> None:
    pictures = [PictureFacts(f"{number}.jpg", "", "sea", b"") for number in range(12)]
    assert similar(pictures, np.eye(12)) == []
    assert similar(pictures, np.ones((12, 3))) == []
    assert similar(pictures[:1], np.ones((1, 3))) == []
