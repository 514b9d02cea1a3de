import asyncio
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from scenerec.errors import BundleError
from serve.errors import NotServedError
from serve.loaded_version import EngineOptions, LoadedVersion, load_version
from serve.shelf import Shelf, Weighted
from tests.tiny_bundle import IMAGE_SIZE, make_tiny_bundle

RED = np.zeros((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8) + np.array([255, 0, 0], np.uint8)


def version(folder: Path, number: str, **bundle: object) -> LoadedVersion:
    return load_version("tiny", number, make_tiny_bundle(folder / number, **bundle), EngineOptions())  # type: ignore[arg-type]


@pytest.fixture
def both(tmp_path: Path) -> tuple[LoadedVersion, LoadedVersion]:
    return version(tmp_path, "1"), version(tmp_path, "2", scale=0.1)


def test_a_version_that_does_not_answer_its_golden_images_is_not_loaded(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not answer its golden images"):
        version(tmp_path, "1", answered=0.5)


def test_requests_are_shared_by_weight_and_a_named_version_is_always_found(
    both: tuple[LoadedVersion, LoadedVersion],
) -> None:
    shelf = Shelf()
    shelf.replace({"tiny": [Weighted(both[0], 0.9), Weighted(both[1], 0.1)]})
    counts = Counter(shelf.pick("tiny", draw / 1000).number for draw in range(1000))
    assert counts == {"1": 900, "2": 100}
    assert shelf.pick("tiny", 0.0, "2") is both[1]
    with pytest.raises(NotServedError, match="there are: tiny"):
        shelf.pick("other", 0.0)
    with pytest.raises(NotServedError, match="there are: 1, 2"):
        shelf.pick("tiny", 0.0, "7")


def test_who_asks_a_version_that_has_just_closed_is_answered_by_its_successor(
    both: tuple[LoadedVersion, LoadedVersion],
) -> None:
    old, new = both
    shelf = Shelf()
    shelf.replace({"tiny": [Weighted(old, 1.0)]})
    assert shelf.replace({"tiny": [Weighted(new, 1.0)]}) == [old]
    old.engine.close()
    answered, (answer,) = asyncio.run(shelf.ask(old, [RED], 5))
    assert answered is new
    assert answer.logits[0] == pytest.approx(25.5)


def test_what_a_new_version_fails_to_answer_the_old_one_on_standby_answers(
    both: tuple[LoadedVersion, LoadedVersion],
) -> None:
    old, new = both

    def fail(*_: np.ndarray | None) -> np.ndarray:
        raise RuntimeError("out of memory")

    new.engine.classifier.model.logits = fail  # type: ignore[method-assign]
    shelf = Shelf()
    shelf.replace({"tiny": [Weighted(new, 1.0)]}, standby=[old])
    answered, _ = asyncio.run(shelf.ask(shelf.pick("tiny", 0.5), [RED], 5))
    assert answered is old
    assert new.failures == 1
    shelf.replace({"tiny": [Weighted(new, 1.0)]})
    with pytest.raises(RuntimeError, match="out of memory"):
        asyncio.run(shelf.ask(new, [RED], 5))
