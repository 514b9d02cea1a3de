"""How a folder without splits is divided: class by class, what looks alike together, and again in the same way."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.data.quality.division import divide
from scenerec.data.quality.facts import PictureFacts, measure
from scenerec.errors import DataError
from tests.unit.data.quality.textures import texture

PICTURES = [
    measure(f"{name}/{number}.jpg", "", name, f"{name}{number}".encode(), texture(100 * label + number))
    for label, name in enumerate(("beach", "hut", "sea"))
    for number in range(12)
]


def copies(picture: PictureFacts, count: int) -> list[PictureFacts]:
    """Pictures that look the same, of other bytes."""
    return [
        replace(picture, path=f"{picture.path}-{number}", digest=picture.digest + bytes([number]))
        for number in range(count)
    ]


def counts(splits: dict[str, str], split: str) -> Counter[str]:
    return Counter(path.split("/")[0] for path, found in splits.items() if found == split)


@given(st.permutations(PICTURES), st.sets(st.sampled_from(range(len(PICTURES))), max_size=10), st.integers(1, 5))
def test_each_class_is_divided_and_what_looks_alike_stays_together(
    pictures: list[PictureFacts], copied: set[int], times: int
) -> None:
    groups = [[PICTURES[place], *copies(PICTURES[place], times)] for place in sorted(copied)]
    everything = [*pictures, *(each for group in groups for each in group[1:])]
    division = divide(everything)
    splits = dict(division.splits)
    assert splits.keys() == {each.path for each in everything}
    sizes = Counter(each.class_name for each in everything)
    for name, validated in counts(splits, "val").items():
        assert 1 <= validated <= max(1.5 * round(0.2 * sizes[name]), times + 1)
    assert counts(splits, "train").keys() == counts(splits, "val").keys() == {"beach", "hut", "sea"}
    assert all(len({splits[each.path] for each in group}) == 1 for group in groups)
    assert division.alike == sum(map(len, groups))
    assert divide(PICTURES + everything[len(PICTURES) :]).splits == division.splits


def test_a_later_division_leaves_in_place_what_was_known() -> None:
    before = divide(PICTURES[::2] + PICTURES[1:6]).splits
    after = divide(PICTURES, before).splits
    assert all(after[path] == split for path, split in before.items())
    assert divide(PICTURES, {}).validated == 3 * round(0.2 * 12)


def test_what_looks_like_known_images_follows_them() -> None:
    known = divide(PICTURES).splits
    validated = next(each for each in PICTURES if known[each.path] == "val")
    learned = next(each for each in PICTURES if known[each.path] == "train")
    new = [*copies(validated, 1), *copies(learned, 1)]
    after = divide([*PICTURES, *new], known).splits
    assert after[new[1].path] == after[learned.path] == "train"
    assert after[new[0].path] == after[validated.path] == "val"


def test_a_class_whose_images_all_look_alike_is_divided_all_the_same_and_named() -> None:
    alike = [replace(each, class_name="twins", path=f"twins/{each.path}") for each in copies(PICTURES[0], 6)]
    division = divide([*PICTURES[12:], *alike])
    assert division.cut == ("twins",)
    assert counts(dict(division.splits), "val")["twins"] == 1


def test_what_stands_under_two_classes_or_cannot_be_decoded_is_for_training() -> None:
    twin = replace(PICTURES[0], class_name="sea", path="sea/twin.jpg")
    broken = PictureFacts("sea/broken.jpg", "", "sea", b"?", unreadable="cannot be decoded")
    splits = divide([*PICTURES, twin, broken]).splits
    assert splits[twin.path] == splits[PICTURES[0].path] == splits[broken.path] == "train"


def test_blank_pictures_are_no_twins() -> None:
    blank = [
        measure(f"sea/blank{number}.jpg", "", "sea", bytes([number]), np.full((64, 64, 3), number, np.uint8))
        for number in range(4)
    ]
    assert divide([*PICTURES, *blank]).alike == 0


@pytest.mark.parametrize("readable", [0, 1])
def test_a_class_with_too_few_images_is_refused_by_its_name(readable: int) -> None:
    broken = PictureFacts("dune/broken.jpg", "", "dune", b"?", unreadable="its end is missing")
    few = [replace(each, class_name="dune", path=f"dune/{each.path}") for each in PICTURES[:readable]]
    with pytest.raises(DataError, match=rf"dune has {readable} image\(s\) that can be decoded \(dune/broken.jpg: its"):
        divide([*PICTURES[12:], broken, *few])
