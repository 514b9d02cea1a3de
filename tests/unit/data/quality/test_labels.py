"""Which labels of pictures are doubted, by their features and by nobody who has learned from them."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from scenerec.data.finding_kinds import Kind
from scenerec.data.quality.facts import PictureFacts, measure
from scenerec.data.quality.features import picture_features
from scenerec.data.quality.labels import LEAST_IMAGES, by_features, judgeable, mislabelled
from scenerec.data.quality.out_of_fold import FOLDS, fold_of, out_of_fold_probabilities
from scenerec.data.synthetic import draw_scenes


def facts(path: str, class_name: str, pixels: np.ndarray) -> PictureFacts:
    return measure(path, "train", class_name, b"", pixels, with_features=True)


def features_of(pictures: list[PictureFacts]) -> np.ndarray:
    return np.stack([np.frombuffer(picture.features, np.float16) for picture in pictures])


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[PictureFacts]:
    """40 drawn scenes of each of four kinds."""
    root = tmp_path_factory.mktemp("scenes")
    draw_scenes(root, classes=4, train_per_class=40, val_per_class=1, size=64)
    files = sorted((root / "train").rglob("*.jpg"))
    return [facts(f"{file.parent.name}/{file.name}", file.parent.name, np.asarray(Image.open(file))) for file in files]


def swapped(scenes: list[PictureFacts], count: int) -> tuple[list[PictureFacts], dict[str, str]]:
    """The scenes with some under the next class, and of these the class that they show."""
    names = sorted({each.class_name for each in scenes})
    chosen = set(np.random.default_rng(1).choice(len(scenes), count, replace=False).tolist())
    truth = {scenes[place].path: scenes[place].class_name for place in chosen}
    names = {place: names[(names.index(scenes[place].class_name) + 1) % len(names)] for place in chosen}
    return [replace(each, class_name=names.get(place, each.class_name)) for place, each in enumerate(scenes)], truth


def test_swapped_labels_of_drawn_scenes_are_found(scenes: list[PictureFacts]) -> None:
    pictures, truth = swapped(scenes, 8)
    found = mislabelled(by_features("features", pictures, features_of(pictures)))
    assert {each.path for each in found[:8]} == truth.keys() and len(found) <= 10
    assert all(each.likely and each.likely.class_name == truth[each.path] for each in found[:8])
    first = found[0]
    assert first.kind is Kind.MISLABELLED and first.likely and first.likely.probability > 0.9
    assert len(first.likely.examples) == 3
    assert all(path.startswith(f"{first.likely.class_name}/") for path in first.likely.examples)
    assert f"likely {first.likely.class_name}" in first.detail


def test_whoever_doubts_too_many_labels_is_not_believed(scenes: list[PictureFacts]) -> None:
    draws = np.random.default_rng(0)
    opinion = by_features("dice", scenes, draws.normal(size=(len(scenes), 5)))
    assert mislabelled(opinion) == []
    assert "160 labels were judged by dice" in str(opinion) and "too few to doubt any" in str(opinion)


def test_a_clean_set_is_hardly_doubted(scenes: list[PictureFacts]) -> None:
    opinion = by_features("features", scenes, features_of(scenes))
    assert opinion.agreement > 0.97 and len(mislabelled(opinion)) <= 3


def test_what_cannot_be_judged_is_told(scenes: list[PictureFacts]) -> None:
    one = [each for each in scenes if each.class_name == scenes[0].class_name]
    assert judgeable(one) == ([], "no label was judged: there is one class only")
    few = [*one, *(each for each in scenes if each.class_name != scenes[0].class_name)][: len(one) + LEAST_IMAGES - 1]
    assert judgeable(few) == ([], "no label was judged: fewer than two classes have 5 pictures")
    rare = replace(scenes[0], path="rare.jpg", class_name="rare")
    broken = replace(scenes[0], path="broken.jpg", unreadable="is no picture")
    known, why = judgeable([*scenes, rare, broken])
    assert known == scenes
    assert why == "the labels of 1 class of fewer than 5 pictures were not judged"


@given(st.lists(st.integers(0, 3), min_size=1, max_size=80))
def test_each_fold_holds_out_as_many_of_each_class(drawn: list[int]) -> None:
    labels = np.array(drawn)
    folds = fold_of(labels)
    for label in set(drawn):
        counts = Counter(folds[labels == label].tolist())
        sizes = [counts[fold] for fold in range(FOLDS)]
        assert max(sizes) - min(sizes) <= 1
    assert folds.tolist() == fold_of(labels).tolist()


def test_no_row_has_a_part_in_its_own_probabilities() -> None:
    draws = np.random.default_rng(3)
    truth = np.arange(120) % 3
    rows = draws.normal(size=(120, 6)) + 4 * np.eye(6)[truth]
    probabilities = out_of_fold_probabilities(rows, truth)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert (probabilities.argmax(axis=1) == truth).mean() > 0.95
    lonely = rows.copy()
    lonely[5] += 100  # far from all others: only who had learned from it could be sure
    assert out_of_fold_probabilities(lonely, truth)[5].max() < 0.9


def test_features_tell_colours_and_directions_apart() -> None:
    down, across = np.mgrid[:90, :120]
    stripes = (128 + 90 * np.sin(across / 2))[..., None].repeat(3, axis=2).astype(np.uint8)
    beams = (128 + 90 * np.sin(down / 2))[..., None].repeat(3, axis=2).astype(np.uint8)
    red = (stripes * np.array([1.0, 0.4, 0.4])).astype(np.uint8)
    made = np.stack([picture_features(each).astype(np.float32) for each in (stripes, beams, red)])
    assert made.shape == (3, 256) and np.isfinite(made).all()
    energies, colours = np.split(made, [96], axis=1)
    assert np.abs(energies[0] - energies[1]).max() > 2 and np.abs(energies[0] - energies[2]).max() < 0.5
    assert np.abs(colours[0] - colours[2]).max() > 0.2 and np.abs(colours[0] - colours[1]).max() < 0.2
    shifted = picture_features(np.roll(stripes, 5, axis=1)).astype(np.float32)
    assert np.abs(shifted - made[0]).max() < 0.3
