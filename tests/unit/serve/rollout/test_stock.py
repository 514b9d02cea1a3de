from pathlib import Path

import pytest

from scenerec.errors import BundleError, StorageError
from serve.loaded_version import EngineOptions
from serve.rollout.assignment import Assignment, Placement
from serve.rollout.bundle_cache import digest_of, open_placement
from serve.rollout.stock import Stock
from serve.shelf import Shelf
from tests.tiny_bundle import make_tiny_bundle


def placement(folder: Path, number: str, weight: float = 1.0, **bundle: object) -> Placement:
    url = str(make_tiny_bundle(folder / number, **bundle).folder)  # type: ignore[arg-type]
    return Placement("tiny", number, url, digest_of(url), weight)


def stock(tmp_path: Path) -> Stock:
    (tmp_path / "cache").mkdir()
    return Stock(Shelf(), EngineOptions(), tmp_path / "cache")


def served(stock: Stock) -> list[str]:
    return [each.version.number for each in stock.shelf.weighted("tiny")]


def test_a_version_out_of_service_stands_by_until_it_is_retired(tmp_path: Path) -> None:
    kept = stock(tmp_path)
    first, second = placement(tmp_path, "1"), placement(tmp_path, "2", scale=0.1)
    kept.fill(Assignment(1, (first,)))
    old = kept.shelf.pick("tiny", 0.0)
    kept.fill(Assignment(2, (second,)))
    assert served(kept) == ["2"]
    kept.fill(Assignment(3, (first,)))
    assert kept.shelf.pick("tiny", 0.0) is old  # it was never closed
    kept.fill(Assignment(4, (second,)))
    kept.retire()
    kept.fill(Assignment(5, (first,)))
    assert kept.shelf.pick("tiny", 0.0) is not old
    assert kept.placements == (first,)


def test_a_version_that_cannot_be_served_leaves_the_old_one_and_says_why(tmp_path: Path) -> None:
    kept = stock(tmp_path)
    first, bad = placement(tmp_path, "1"), placement(tmp_path, "2", answered=0.5)
    with pytest.raises(BundleError, match="golden"):
        kept.fill(Assignment(1, (bad,)))
    kept.fill(Assignment(2, (first,)))
    kept.fill(Assignment(3, (bad,)))
    assert served(kept) == ["1"]
    assert kept.placements == (first,)
    assert "golden" in kept.refused[bad.key]


def test_a_store_that_does_not_answer_condemns_no_version(tmp_path: Path) -> None:
    kept = stock(tmp_path)
    first, second = placement(tmp_path, "1"), placement(tmp_path, "2", scale=0.1)
    kept.fill(Assignment(1, (first,)))
    Path(second.url).rename(tmp_path / "away")
    with pytest.raises(StorageError):
        kept.fill(Assignment(2, (second,)))
    assert served(kept) == ["1"]
    assert kept.refused == {}
    (tmp_path / "away").rename(second.url)
    kept.fill(Assignment(2, (second,)))
    assert served(kept) == ["2"]


def test_weights_change_without_loading_anything_again(tmp_path: Path) -> None:
    kept = stock(tmp_path)
    first, second = placement(tmp_path, "1", 0.9), placement(tmp_path, "2", 0.1, scale=0.1)
    kept.fill(Assignment(1, (first, second)))
    before = kept.shelf.versions()
    kept.fill(Assignment(2, (placement(tmp_path, "1", 0.5), placement(tmp_path, "2", 0.5, scale=0.1))))
    assert kept.shelf.versions() == before
    assert [each.weight for each in kept.shelf.weighted("tiny")] == [0.5, 0.5]


def test_a_cached_bundle_needs_no_store_and_a_damaged_one_is_fetched_again(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    first = placement(tmp_path, "1")
    bundle = open_placement(first, cache)
    moved = tmp_path / "gone"
    Path(first.url).rename(moved)
    assert open_placement(first, cache).info == bundle.info
    (bundle.folder / "model.onnx").write_bytes(b"damaged")
    moved.rename(first.url)
    assert open_placement(first, cache).model_file.stat().st_size > 100


def test_another_bundle_in_the_place_of_the_one_that_was_meant_is_refused(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    first = placement(tmp_path, "1")
    make_tiny_bundle(Path(first.url), scale=0.2)
    with pytest.raises(BundleError, match="was replaced by another bundle"):
        open_placement(first, cache)
