"""The registry on the real store: numbers and aliases by S3's conditional writes."""

import threading
from contextlib import suppress
from pathlib import Path

import pytest

from scenerec.errors import BundleError, RegistryError
from scenerec.inference.bundles.registry import Registry
from tests.tiny_bundle import make_tiny_bundle


@pytest.fixture
def registry(store: None, request: pytest.FixtureRequest) -> Registry:
    return Registry(f"s3://scenes/registry-tests/{request.node.name}")


def test_pushes_at_once_take_different_numbers(registry: Registry, tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle")
    threads = [threading.Thread(target=registry.push, args=(bundle, "scenes")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert registry.version_numbers("scenes") == [1, 2, 3, 4]
    assert registry.open(registry.resolve("scenes:3")).info == bundle.info


def test_of_moves_at_once_one_wins(registry: Registry, tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle")
    for _ in range(4):
        registry.push(bundle, "scenes")
    won: list[int] = []

    def move(number: int) -> None:
        with suppress(RegistryError):
            won.append(registry.move("scenes", "production", number, "race", expected=None).version)

    threads = [threading.Thread(target=move, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [registry.resolve("scenes@production").number]


def test_a_changed_version_is_refused(registry: Registry, tmp_path: Path) -> None:
    version = registry.push(make_tiny_bundle(tmp_path / "bundle", scale=0.07), "scenes")
    model = registry.storage.get("scenes/1/model.onnx")
    registry.storage.put("scenes/1/model.onnx", model[:-1] + bytes([model[-1] ^ 1]))
    with pytest.raises(BundleError, match=r"scenes/1/model.onnx: its checksum is not the one in bundle.json"):
        registry.open(version)
    registry.storage.put("scenes/1/model.onnx", model)
    assert registry.open(version).model_file.read_bytes() == model
