import pytest

from scenerec.data.splits import find_splits, is_unlabelled, says_nothing, split_of


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("seg_train", "train"),
        ("train2017", "train"),
        ("Train Data", "train"),
        ("01-trainset", "train"),
        ("trainImages", "train"),
        ("val_large", "val"),
        ("VALID", "val"),
        (" validation ", "val"),
        ("dev", "val"),
        ("Testing_01", "test"),
        ("test (1)", "test"),
        ("TestSet", "test"),
        ("train_station", None),
        ("trains", None),
        ("test-kitchen", None),
        ("train_val", None),
        ("latest", None),
        ("beach", None),
        ("images", None),
        ("2019", None),
        ("", None),
    ],
)
def test_a_split_is_known_by_its_name(name: str, split: str | None) -> None:
    assert split_of(name) == split


def test_what_stands_beside_must_say_nothing_or_be_the_same_for_several() -> None:
    assert find_splits(["city_train", "city_test", "train_station"]) == {"city_train": "train", "city_test": "test"}
    assert find_splits(["train_interior", "train_station"]) == {}
    assert find_splits(["Train", "training", "sea"]) == {"Train": "train", "training": "train"}


def test_folders_without_labels_and_without_meaning() -> None:
    assert [is_unlabelled(name) for name in ("seg_pred", "Unlabeled", "prediction", "predator")] == [True] * 3 + [False]
    assert [says_nothing(name) for name in ("images", "JPEG_Images", "2019", "sunset")] == [True] * 3 + [False]
