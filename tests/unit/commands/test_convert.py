import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from safetensors.numpy import save_file
from typer.testing import CliRunner, Result

from scenerec.cli import app
from scenerec.models import torch_model
from scenerec.models.weights.files import read_weights, write_weights

ARCH = "mobilenet_v3_small"


@pytest.fixture(autouse=True)
def nothing_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENEREC_HOME", str(tmp_path / "home"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return save_weights(tmp_path / "source.pth", ARCH)


def save_weights(file: Path, arch: str) -> Path:
    """As torchvision's own training saves them."""
    torch.manual_seed(1)
    network = torchvision.models.get_model(arch, num_classes=5)
    torch.save({"state_dict": network.state_dict(), "epoch": 1}, file)
    return file


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["convert", *(str(argument) for argument in arguments)])


def converted(*arguments: object) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


def refused(*arguments: object, code: int) -> str:
    result = run(*arguments)
    assert result.exit_code == code, (result.output, result.exception)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


@pytest.mark.slow
def test_weights_go_through_all_formats_unchanged(tmp_path: Path) -> None:
    arch = "resnet18"  # few layers, for Keras takes its time over each; BatchNorm's counters too
    source = save_weights(tmp_path / "source.pth", arch)
    first = converted(source, tmp_path / "a.keras", "--arch", arch, "--image-size", 64)
    assert (first["source_format"], first["destination_format"]) == ("torch", "keras")
    assert (first["arch"], first["classes"], first["image_size"]) == (arch, 5, 64)
    assert first["size_bytes"] == (tmp_path / "a.keras").stat().st_size
    assert (first["left_out"], first["drawn"]) == ([], [])

    steps = [
        ("a.keras", "b", "--to", "savedmodel"),
        ("b", "c.safetensors"),
        ("c.safetensors", "d", "--to", "checkpoint"),
        ("d", "e.pth"),
    ]
    for start, end, *options in steps:
        done = converted(tmp_path / start, tmp_path / end, *options)
        assert (done["arch"], done["classes"], done["image_size"]) == (arch, 5, 64)

    theirs = torch.load(source, weights_only=True)["state_dict"]
    ours = torch.load(tmp_path / "e.pth", weights_only=True)
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], tensor) for key, tensor in theirs.items())


def test_it_tells_what_it_did_in_a_few_lines(source: Path, tmp_path: Path) -> None:
    shown = run(source, tmp_path / "a.safetensors", "--arch", ARCH)
    assert shown.stdout.splitlines() == [
        f"source    {source} (torch)",
        f"network   {ARCH}, 5 classes, 224 px",
        f"written   {tmp_path}/a.safetensors (safetensors): 210 tensors, "
        f"{(tmp_path / 'a.safetensors').stat().st_size} bytes",
    ]


def test_an_architecture_must_be_told_once_and_not_twice_differently(source: Path, tmp_path: Path) -> None:
    assert "does not tell its architecture: name it with --arch" in refused(source, tmp_path / "a.pth", code=6)
    converted(source, tmp_path / "a.safetensors", "--arch", ARCH)
    wrong = refused(tmp_path / "a.safetensors", tmp_path / "a.pth", "--arch", "resnet18", code=6)
    assert f"is a {ARCH}, not a resnet18 (--arch)" in wrong
    assert "did you mean 'resnet18'?" in refused(source, tmp_path / "a.pth", "--arch", "resnet8", code=6)


def test_weights_that_do_not_fit_are_listed(source: Path, tmp_path: Path) -> None:
    line = refused(source, tmp_path / "a.pth", "--arch", "mobilenet_v3_large", code=6)
    assert "do not fit mobilenet_v3_large: missing " in line
    assert "mis-shaped " in line
    assert "classifier.3.weight [5, 1024] instead of [5, 1280]" in line or " more" in line
    headless = refused(source, tmp_path / "a.pth", "--arch", "resnet18", code=6)
    assert "missing conv1.weight" in headless
    assert "unexpected features.0.0.weight" in headless
    assert not (tmp_path / "a.pth").exists()


def test_partial_draws_what_does_not_fit_and_lists_it(source: Path, tmp_path: Path) -> None:
    state = read_weights(str(source)).state
    state["stray"] = np.zeros(3, np.float32)
    state["features.0.0.weight"] = np.zeros((1, 2, 3), np.float32)
    popped = state.pop("classifier.0.weight")
    save_file(state, tmp_path / "a.safetensors")
    arguments = (tmp_path / "a.safetensors", tmp_path / "b.pth", "--arch", ARCH)
    assert "missing classifier.0.weight; unexpected stray; mis-shaped features.0.0.weight" in refused(
        *arguments, code=6
    )

    done = converted(*arguments, "--partial")
    assert sorted(done["drawn"]) == ["classifier.0.weight", "features.0.0.weight"]
    assert sorted(done["left_out"]) == ["features.0.0.weight", "stray"]
    new = torch_model.state(torch_model.build(ARCH, 5, seed=0))
    written = read_weights(f"{tmp_path}/b.pth").state
    assert np.array_equal(written["classifier.0.weight"], new["classifier.0.weight"])
    assert not np.array_equal(written["classifier.0.weight"], popped)
    assert np.array_equal(written["classifier.3.bias"], state["classifier.3.bias"])

    shown = run(*arguments, "--partial", "--force").stdout.splitlines()
    assert any(line.startswith("drawn     ") and "classifier.0.weight" in line for line in shown)
    del state["classifier.3.weight"]
    save_file(state, tmp_path / "a.safetensors")
    assert "the number of classes" in refused(*arguments, "--partial", "--force", code=6)


def test_nothing_is_written_over_without_force(source: Path, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"precious")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"precious")
    for arguments in ((tmp_path / "a.pth",), (tmp_path / "folder", "--to", "checkpoint")):
        line = refused(source, *arguments, "--arch", ARCH, code=3)
        assert line.endswith("is there already: --force replaces it")
    assert (tmp_path / "a.pth").read_bytes() == b"precious"
    converted(source, tmp_path / "a.pth", "--arch", ARCH, "--force")
    assert read_weights(f"{tmp_path}/a.pth").state


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.bin"], "must end in .safetensors, .pth or .keras, or be a folder: add --to savedmodel or checkpoint"),
        (["a.keras", "--to", "savedmodel"], "--to savedmodel: this is a folder, but DEST ends as a keras file"),
        (["ftp://host/a.pth"], "DEST ftp://host/a.pth: only s3:// addresses and local paths are understood"),
    ],
)
def test_a_destination_must_tell_its_format(arguments: list[str], message: str, source: Path) -> None:
    assert message in refused(source, *arguments, code=2)


def test_a_network_for_one_image_size_is_not_built_for_another(tmp_path: Path) -> None:
    write_weights(f"{tmp_path}/a.safetensors", "safetensors", {}, "vit_b_32", classes=5, image_size=224)
    line = refused(tmp_path / "a.safetensors", tmp_path / "a.keras", "--image-size", 128, code=6)
    assert "vit_b_32 takes images of 224 px only, not 128" in line
