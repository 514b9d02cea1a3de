import json
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from scenerec.errors import RegistryError
from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.bundles.registry import Registry, parse_reference
from tests.tiny_bundle import make_tiny_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_tiny_bundle(tmp_path / "bundle")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(str(tmp_path / "registry"))


def test_versions_count_up_and_hold_what_was_pushed(registry: Registry, bundle: Bundle) -> None:
    assert registry.models() == []
    pushed = [registry.push(bundle, "scenes").number for _ in range(3)]
    assert pushed == registry.version_numbers("scenes") == [1, 2, 3]
    assert registry.models() == ["scenes"]
    opened = registry.open(registry.resolve("scenes:2"))
    assert opened.info == bundle.info
    assert opened.model_file.read_bytes() == bundle.model_file.read_bytes()


def test_pushes_at_once_take_different_numbers(registry: Registry, bundle: Bundle) -> None:
    threads = [threading.Thread(target=registry.push, args=(bundle, "scenes")) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert registry.version_numbers("scenes") == [1, 2, 3, 4, 5, 6]


def test_a_reference_means_an_alias_a_number_or_the_newest(registry: Registry, bundle: Bundle) -> None:
    for _ in range(3):
        registry.push(bundle, "scenes")
    registry.move("scenes", "production", 2, "first", expected=None)
    assert registry.resolve("scenes@production").number == 2
    assert registry.resolve("scenes:1").number == 1
    assert registry.resolve("scenes").number == 3


def test_an_alias_remembers_where_it_stood(registry: Registry, bundle: Bundle) -> None:
    for _ in range(2):
        registry.push(bundle, "scenes")
    assert registry.move("scenes", "production", 1, "first", expected=None).previous is None
    moved = registry.move("scenes", "production", 2, "better", expected=1)
    assert (moved.version, moved.previous) == (2, 1)
    assert registry.alias("scenes", "production") == moved
    assert [move.reason for move in registry.aliases("scenes")[0].moves] == ["first", "better"]


def test_a_move_from_elsewhere_is_refused(registry: Registry, bundle: Bundle) -> None:
    for _ in range(3):
        registry.push(bundle, "scenes")
    registry.move("scenes", "production", 1, "first", expected=None)
    registry.move("scenes", "production", 2, "somebody else", expected=1)
    with pytest.raises(RegistryError, match="scenes@production was moved meanwhile: it stands at 2, not 1"):
        registry.move("scenes", "production", 3, "too late", expected=1)
    assert registry.resolve("scenes@production").number == 2


def test_of_moves_at_once_one_wins(registry: Registry, bundle: Bundle) -> None:
    for _ in range(8):
        registry.push(bundle, "scenes")
    won: list[int] = []

    def move(number: int) -> None:
        with suppress(RegistryError):
            won.append(registry.move("scenes", "production", number, "race", expected=None).version)

    threads = [threading.Thread(target=move, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [registry.resolve("scenes@production").number]


def test_a_deleted_versions_number_does_not_come_back(registry: Registry, bundle: Bundle) -> None:
    for _ in range(2):
        registry.push(bundle, "scenes")
    registry.delete("scenes", 2)
    assert registry.version_numbers("scenes") == [1]
    assert registry.push(bundle, "scenes").number == 3


def test_a_version_that_an_alias_holds_is_not_deleted(registry: Registry, bundle: Bundle) -> None:
    registry.push(bundle, "scenes")
    registry.move("scenes", "production", 1, "first", expected=None)
    with pytest.raises(RegistryError, match="scenes:1 is production: promote another version first"):
        registry.delete("scenes", 1)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("other", "no model other \\(there are: scenes\\)"),
        ("scenes:9", r"scenes has no version 9 \(there are: 1\)"),
        ("other@production", "no model other \\(there are: scenes\\)"),
        ("other:3", "no model other \\(there are: scenes\\)"),
        ("scenes@staging", "scenes has no alias staging: set it with `scenerec registry promote"),
        ("scenes:0", "is no reference: write NAME, NAME@ALIAS or NAME:VERSION"),
        ("../scenes", "is no reference"),
    ],
)
def test_what_is_not_there_is_named(registry: Registry, bundle: Bundle, reference: str, message: str) -> None:
    registry.push(bundle, "scenes")
    with pytest.raises(RegistryError, match=message):
        registry.resolve(reference)


def test_a_missing_alias_is_told_with_those_that_are_there(registry: Registry, bundle: Bundle) -> None:
    registry.push(bundle, "scenes")
    registry.move("scenes", "production", 1, "first", expected=None)
    with pytest.raises(RegistryError, match=r"scenes has no alias prod \(there are: production\): set it with"):
        registry.resolve("scenes@prod")


def test_an_alias_that_may_be_served_takes_nothing_that_cannot_be(registry: Registry, bundle: Bundle) -> None:
    for each in (bundle, as_tflite(bundle), bundle, as_tflite(bundle)):
        registry.push(each, "scenes")
    registry.move("scenes", "production", 1, "first", expected=None)
    with pytest.raises(RegistryError, match=r"scenes:2 is a bundle of format tflite, which no endpoint serves"):
        registry.move("scenes", "production", 2, "forced", expected=1)
    registry.move("scenes", "production", 3, "better", expected=1)
    registry.move("scenes", "phone", 2, "first", expected=None)
    registry.move("scenes", "phone", 4, "better", expected=2)
    registry.move("scenes", "phone", 1, "back to what can be served", expected=4)
    with pytest.raises(RegistryError, match="no endpoint serves"):
        registry.move("scenes", "phone", 4, "rolled back", expected=1)


def as_tflite(bundle: Bundle) -> Bundle:
    return replace(bundle, info=bundle.info.model_copy(update={"format": "tflite"}))


def test_an_alias_keeps_what_candidates_are_compared_with(registry: Registry, bundle: Bundle) -> None:
    for _ in range(3):
        registry.push(bundle, "scenes")
    assert registry.move("scenes", "production", 1, "first", None).baseline == 1
    registry.move("scenes", "production", 2, "not quite as good", 1, baseline=1)
    found = registry.alias("scenes", "production")
    assert found is not None and (found.version, found.baseline) == (2, 1)
    assert registry.move("scenes", "production", 3, "forced", 2).baseline == 3


def test_an_alias_of_an_older_version_of_scenerec_has_its_holder_as_baseline(
    registry: Registry, bundle: Bundle
) -> None:
    registry.push(bundle, "scenes")
    moves = [{"version": 1, "moved_at": "2026-01-01T00:00:00+00:00", "reason": "first"}]
    registry.storage.put("scenes/aliases/production.json", json.dumps({"moves": moves, "id": "x"}).encode())
    found = registry.alias("scenes", "production")
    assert found is not None and found.baseline == 1


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "aliases", "a" * 64])
def test_a_bad_name_is_refused(registry: Registry, bundle: Bundle, name: str) -> None:
    with pytest.raises(RegistryError, match="cannot be a name"):
        registry.push(bundle, name)


def test_references() -> None:
    assert parse_reference("a-b.c@production") == ("a-b.c", "production", None)
    assert parse_reference("scenes:12") == ("scenes", None, 12)
    assert parse_reference("scenes") == ("scenes", None, None)
