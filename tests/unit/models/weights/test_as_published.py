"""Weight files as people save and send them, as `scenerec convert` takes or refuses them."""

import argparse
import collections
import datetime
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner, Result

from scenerec.cli import app
from scenerec.models import torch_model
from scenerec.models.weights.files import read_weights

ARCH = "squeezenet1_1"
Tensors = dict[str, torch.Tensor]


@pytest.fixture(autouse=True)
def nothing_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENEREC_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return torch_model.build(ARCH, 5, seed=0)


def convert(source: Path, *options: str) -> Result:
    target = source.with_name("converted.safetensors")
    return CliRunner().invoke(app, ["convert", str(source), str(target), "--arch", ARCH, "--force", *options])


def converted(source: Path, network: nn.Module, *options: str) -> dict[str, Any]:
    """What `--json` says of the conversion; the values are those of `network`, bit by bit."""
    result = convert(source, *options, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    expected = torch_model.state(network)
    state = read_weights(str(source.with_name("converted.safetensors"))).state
    assert state.keys() == expected.keys()
    assert all(np.array_equal(state[key], array) for key, array in expected.items())
    return json.loads(result.stdout)


def refused(source: Path) -> str:
    result = convert(source)
    assert result.exit_code == 6, (result.output, result.exception)
    (line,) = result.stderr.splitlines()
    return line.removeprefix(f"error: {source}")


@pytest.mark.parametrize(
    ("prefix", "removed"),
    [
        ("_orig_mod.", ["_orig_mod."]),
        ("module._orig_mod.", ["module._orig_mod."]),
        ("_orig_mod.module.", ["_orig_mod.module."]),
        ("_fsdp_wrapped_module.", ["_fsdp_wrapped_module."]),
        ("model.", ["model."]),
        ("net.", ["net."]),
        ("backbone.", ["backbone."]),
        ("module.model.", ["module.", "model."]),
        ("model._orig_mod.", ["_orig_mod.", "model."]),
        ("net.module.model.", ["module.", "net.model."]),
    ],
)
def test_prefixes_are_taken_off_and_it_is_said(
    prefix: str, removed: list[str], network: nn.Module, tmp_path: Path
) -> None:
    state = {f"{prefix}{key}": tensor for key, tensor in network.state_dict().items()}
    torch.save({"state_dict": state, "pytorch-lightning_version": "2.1"}, tmp_path / "a.ckpt")
    save_file(state, tmp_path / "a.safetensors")
    for name in ("a.ckpt", "a.safetensors"):
        assert converted(tmp_path / name, network)["removed"] == removed
    shown = convert(tmp_path / "a.ckpt").stdout.splitlines()
    assert f"removed   {', '.join(f'`{part}` before the keys' for part in removed)}" in shown


def test_prefixes_stay_where_not_everything_fits_without_them(network: nn.Module, tmp_path: Path) -> None:
    state = network.state_dict()
    torch.save({f"model.{key}": tensor for key, tensor in state.items()} | {"x.w": torch.ones(2)}, tmp_path / "a.pth")
    assert "do not fit squeezenet1_1: unexpected x.w" in refused(tmp_path / "a.pth")
    teacher = {f"teacher.{key}": tensor for key, tensor in state.items()}
    torch.save({f"student.{key}": tensor for key, tensor in state.items()} | teacher, tmp_path / "a.pth")
    assert refused(tmp_path / "a.pth") == (
        ": there are several networks in it, at student. and teacher.: save one of them alone"
    )
    torch.save({f"module.{key}": tensor for key, tensor in state.items()} | state, tmp_path / "a.pth")
    assert "are the same tensor of a network: save one of them alone" in refused(tmp_path / "a.pth")


@pytest.mark.parametrize("name", ["a.PTH", "a.Pt", "a.bin", "a.ckpt", "epoch=3-step=120.ckpt", "a.pt2", "A.PTH.TAR"])
def test_suffixes_of_torch_files(name: str, network: nn.Module, tmp_path: Path) -> None:
    torch.save(network.state_dict(), tmp_path / name)
    assert converted(tmp_path / name, network)["source_format"] == "torch"


@pytest.mark.parametrize("wrapper", ["weights", "params", "model_state", "network", "module", "net_state_dict"])
def test_names_that_scripts_give_the_weights(wrapper: str, network: nn.Module, tmp_path: Path) -> None:
    torch.save({wrapper: network.state_dict(), "optimizer": {"state": {0: {}}}}, tmp_path / "a.pth")
    converted(tmp_path / "a.pth", network)


def test_what_scripts_keep_beside_the_weights_is_passed_over(network: nn.Module, tmp_path: Path) -> None:
    beside = {
        "args": argparse.Namespace(lr=0.1, output=Path("out"), classes=np.int64(5)),
        "best_prec1": np.float64(55.2),
        "top1": np.float32(0.5),
        "confusions": np.eye(3),
        "names": np.array(["a", "b"]),
        "started": datetime.datetime(2026, 11, 30),
        "metrics": collections.defaultdict(list, {"loss": [1.0]}),
        "frozen": frozenset([1, 2]),
    }
    torch.save({"state_dict": network.state_dict(), **beside}, tmp_path / "a.pth.tar")
    converted(tmp_path / "a.pth.tar", network)
    torch.save({"state_dict": network.state_dict(), **beside}, tmp_path / "b.pth", _use_new_zipfile_serialization=False)
    converted(tmp_path / "b.pth", network)


def test_averages_are_a_choice(network: nn.Module, tmp_path: Path) -> None:
    average = torch.optim.swa_utils.AveragedModel(network)
    average.module.classifier[1].bias.data += 1.0
    content = {"model": network.state_dict(), "model_ema": average.state_dict(), "args": argparse.Namespace(lr=0.1)}
    torch.save(content, tmp_path / "a.pth")
    converted(tmp_path / "a.pth", network)
    converted(tmp_path / "a.pth", average.module, "--ema")
    del content["model"]
    torch.save(content, tmp_path / "a.pth")
    converted(tmp_path / "a.pth", average.module, "--ema")
    assert "it has averages: take them by model.weights_ema: true, or --ema" in refused(tmp_path / "a.pth")


def test_averages_that_are_a_module_beside_the_network_are_a_choice(network: nn.Module, tmp_path: Path) -> None:
    average = torch.optim.swa_utils.AveragedModel(network)
    average.module.classifier[1].bias.data += 1.0
    state = {f"model.{key}": tensor for key, tensor in network.state_dict().items()}
    state |= {f"ema_model.{key}": tensor for key, tensor in average.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "a.ckpt")
    assert converted(tmp_path / "a.ckpt", network)["removed"] == ["model."]
    assert converted(tmp_path / "a.ckpt", average.module, "--ema")["removed"] == ["module.", "ema_model."]


def test_a_pickle_of_a_later_protocol_is_named(network: nn.Module, tmp_path: Path) -> None:
    torch.save(network.state_dict(), tmp_path / "a.pth", pickle_protocol=4)
    assert "it was saved with pickle_protocol 4 or later): save it with 2" in refused(tmp_path / "a.pth")


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 46830571\n"


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "a.keras", "a.h5"])
@pytest.mark.parametrize(
    ("content", "what"),
    [
        (LFS, "is a git-LFS pointer, which stands for the file: fetch the file itself with `git lfs pull`"),
        (b"\n<!DOCTYPE html><html>Google Drive - Virus scan warning</html>", "is a web page (HTML)"),
        (b"<HTML>404</HTML>", "is a web page (HTML)"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "is XML, such as a store's error message"),
        (b'{"error": "gated"}', "is JSON, such as an index or an error message"),
        (b"", "is empty"),
        (b"\x1f\x8b\x08" + bytes(50), "is a compressed archive"),
    ],
)
def test_what_stands_in_the_place_of_weights_is_named(content: bytes, what: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert refused(tmp_path / name).startswith(f": {what}")


def test_a_file_that_was_cut_off_is_named(network: nn.Module, tmp_path: Path) -> None:
    torch.save(network.state_dict(), tmp_path / "a.pth")
    save_file(network.state_dict(), tmp_path / "a.safetensors")
    for name, what in (("a.pth", "is cut off: its end is missing after"), ("a.safetensors", "damaged one")):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        assert what in refused(tmp_path / name)


@pytest.mark.parametrize(("saved", "named"), [("a.safetensors", "b.pth"), ("a.pth", "b.safetensors")])
def test_a_file_with_the_suffix_of_another_format_is_named(
    saved: str, named: str, network: nn.Module, tmp_path: Path
) -> None:
    save: Callable[..., None] = torch.save if saved == "a.pth" else save_file
    save(network.state_dict(), tmp_path / saved)
    (tmp_path / saved).rename(tmp_path / named)
    assert ("but a safetensors file" if saved == "a.safetensors" else "but a torch file") in refused(tmp_path / named)


def test_a_folder_and_a_pipe_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "a.pth").mkdir()
    os.mkfifo(tmp_path / "b.pth")
    assert refused(tmp_path / "a.pth") == ": is a folder, not a file of weights"
    assert refused(tmp_path / "b.pth") == ": is a pipe or a device, not a file"


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_float8_is_refused_by_name(kind: torch.dtype, network: nn.Module, tmp_path: Path) -> None:
    state = {key: tensor.to(kind) for key, tensor in network.state_dict().items()}
    torch.save(state, tmp_path / "a.pth")
    save_file(state, tmp_path / "a.safetensors")
    name = str(kind).removeprefix("torch.").removesuffix("fn")
    for file in ("a.pth", "a.safetensors"):
        assert f"is {name}" in refused(tmp_path / file)


def test_quantized_weights_are_refused_by_name(network: nn.Module, tmp_path: Path) -> None:
    state = {**network.state_dict(), "classifier.1.weight": torch.ones(5, 512, 1, 1, dtype=torch.int8)}
    torch.save(state, tmp_path / "a.pth")
    save_file(state, tmp_path / "a.safetensors")
    for file in ("a.pth", "a.safetensors"):
        assert refused(tmp_path / file) == ": classifier.1.weight is quantized (int8): save the network's float weights"


def test_double_half_and_bfloat16_are_read(network: nn.Module, tmp_path: Path) -> None:
    for kind in (torch.float64, torch.float16, torch.bfloat16):
        narrow = torch_model.build(ARCH, 5, seed=0).to(kind)
        save_file(narrow.state_dict(), tmp_path / "a.safetensors")
        converted(tmp_path / "a.safetensors", narrow.float())
