"""Bundles: written whole, and refused with the reason when anything in them is not as it was written."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenerec.errors import BundleError
from scenerec.inference.bundles.bundle import GOLDEN_FILE, INFO_FILE, open_bundle, read_info, write_bundle
from scenerec.inference.bundles.info import ONNX_FILE
from tests.tiny_bundle import LABELS, make_tiny_bundle, tiny_model

Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    make_tiny_bundle(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_tiny_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


def test_what_was_written_is_read(folder: Path) -> None:
    bundle = open_bundle(str(folder))
    assert bundle.info == read_info(str(folder))
    assert bundle.info.labels == LABELS
    assert bundle.model_file.read_bytes() == tiny_model()
    assert bundle.model_bytes == len(tiny_model())
    assert bundle.golden.images.shape == (4, 8, 8, 3)
    assert bundle.golden.images.dtype == np.uint8
    assert set(bundle.info.files) == {ONNX_FILE, GOLDEN_FILE}


@given(at=st.integers(0, 2**20), bit=st.integers(0, 7), file=st.sampled_from([ONNX_FILE, GOLDEN_FILE]))
@settings(max_examples=40, deadline=None)
def test_any_flipped_bit_is_found(pristine: Path, at: int, bit: int, file: str) -> None:
    path = pristine / file
    content = path.read_bytes()
    changed = bytearray(content)
    changed[at % len(content)] ^= 1 << bit
    path.write_bytes(changed)
    try:
        with pytest.raises(BundleError, match=f"{file}: its checksum is not the one"):
            open_bundle(str(pristine))
    finally:
        path.write_bytes(content)
    assert open_bundle(str(pristine)).info.name == "tiny"


@pytest.mark.parametrize("file", [ONNX_FILE, GOLDEN_FILE])
@pytest.mark.parametrize("kept", [0, 1, 100])
def test_a_truncated_file_is_told_with_its_sizes(folder: Path, file: str, kept: int) -> None:
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[:kept])
    with pytest.raises(BundleError, match=f"{file}: has {kept} bytes instead of {len(content)}: truncated"):
        open_bundle(str(folder))


@pytest.mark.parametrize("file", [ONNX_FILE, GOLDEN_FILE])
def test_a_missing_file_is_told(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(BundleError, match=f"{file}: is missing"):
        open_bundle(str(folder))


def test_a_folder_without_description_is_no_bundle(folder: Path) -> None:
    (folder / INFO_FILE).unlink()
    with pytest.raises(BundleError, match=r"not a bundle \(bundle.json is missing\): make one with `scenerec export`"):
        open_bundle(str(folder))


def test_a_file_is_no_bundle(folder: Path) -> None:
    with pytest.raises(BundleError, match=r"model\.onnx: not a bundle \(bundle.json is missing\)"):
        open_bundle(str(folder / ONNX_FILE))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "not a bundle"),
        ("[]", "not a bundle"),
        ('{"name": "other", "model": "weights.bin"}', "not a bundle"),
        ("{" * 500, "not a bundle"),
    ],
)
def test_a_foreign_description_is_refused(folder: Path, content: str, reason: str) -> None:
    (folder / INFO_FILE).write_text(content)
    with pytest.raises(BundleError, match=reason) as raised:
        open_bundle(str(folder))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda info: info.update(version=2), "version"),
        (lambda info: info.update(run="rm -rf"), "run"),
        (lambda info: info.pop("labels"), "labels"),
        (lambda info: info["files"].pop(ONNX_FILE), "does not list model.onnx"),
        (lambda info: info["files"].pop(GOLDEN_FILE), "does not list golden.safetensors"),
        (lambda info: info["files"][ONNX_FILE].update(sha256="0" * 64), "its checksum is not the one"),
        (lambda info: info["files"][ONNX_FILE].update(sha256="short"), "sha256"),
        (lambda info: info.update(format="tflite"), "does not list model.tflite"),
        (lambda info: info["labels"].pop(), r"2 labels do not fit the output probabilities \['batch', 3\]"),
        (lambda info: info["labels"].append("grey"), "4 labels do not fit"),
        (lambda info: info["preprocessing"].update(image_size=16), "images of 16 px do not fit the input images"),
    ],
)
def test_a_changed_description_is_refused(folder: Path, change: Damage, reason: str) -> None:
    edit(folder, change)
    with pytest.raises(BundleError, match=reason):
        open_bundle(str(folder))


@pytest.mark.parametrize("name", ["../outside.onnx", "/etc/hostname", "a/b.bin", "..", ""])
def test_a_path_out_of_the_bundle_is_never_followed(folder: Path, name: str) -> None:
    (folder.parent / "outside.onnx").write_bytes(b"secret")
    edit(folder, lambda info: info["files"].update({name: {"size_bytes": 6, "sha256": "0" * 64}}))
    with pytest.raises(BundleError, match="not a plain file name"):
        open_bundle(str(folder))
    with pytest.raises(BundleError, match="not a plain file name"):  # nor deleted by another export
        write_bundle(str(folder), make_tiny_bundle(folder.parent / "other").info, {})
    assert (folder.parent / "outside.onnx").exists()


class Trap:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("file", [ONNX_FILE, GOLDEN_FILE])
def test_a_pickle_is_never_loaded(folder: Path, tmp_path: Path, file: str) -> None:
    """Even with the right checksum."""
    from scenerec.inference.predictors.onnx_predictor import OnnxPredictor

    info = read_info(str(folder))
    files = {name: (folder / name).read_bytes() for name in info.files}
    write_bundle(str(folder), info, {**files, file: pickle.dumps(Trap(tmp_path / "sprung"))})
    bundle = open_bundle(str(folder))
    with pytest.raises(BundleError):
        OnnxPredictor(bundle) if file == ONNX_FILE else bundle.golden
    assert not (tmp_path / "sprung").exists()


def test_another_export_replaces_a_bundle_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    info = read_info(str(folder))
    write_bundle(str(folder), info, {ONNX_FILE: b"new", GOLDEN_FILE: b"new"})
    assert {path.name for path in folder.iterdir()} == {INFO_FILE, ONNX_FILE, GOLDEN_FILE}
    other = tmp_path / "photos"
    other.mkdir()
    (other / "beach.jpg").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"holds beach\.jpg, which is of no bundle: export to another place"):
        write_bundle(str(other), info, {ONNX_FILE: b"new"})
    assert {path.name for path in other.iterdir()} == {"beach.jpg"}


def edit(folder: Path, change: Damage) -> None:
    info = json.loads((folder / INFO_FILE).read_text())
    change(info)
    (folder / INFO_FILE).write_text(json.dumps(info))
