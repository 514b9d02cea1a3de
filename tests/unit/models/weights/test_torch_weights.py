import pickle
import tarfile
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from scenerec.errors import ModelError
from scenerec.models import torch_model
from scenerec.models.weights import torch_weights
from scenerec.models.weights.files import WeightFile, read_weights


@pytest.fixture
def network() -> nn.Module:
    return torch_model.build("squeezenet1_1", 5, seed=0)


def assert_read(read: WeightFile, network: nn.Module) -> None:
    expected = torch_model.state(network)
    assert set(read.state) == set(expected)
    assert all(np.array_equal(read.state[key], array) for key, array in expected.items())
    assert read.format == "torch"


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"epoch": 3, "arch": "squeezenet1_1", "state_dict": state, "best_prec1": torch.tensor(0.5)},
        lambda state: {"model": state, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
        lambda state: {"model": {"model_state_dict": state}, "epoch": 1},
        lambda state: {f"module.{key}": nn.Parameter(tensor) for key, tensor in state.items()},
        lambda state: {key: tensor.double() for key, tensor in state.items()},
    ],
    ids=["bare", "places365", "torchvision", "twice", "data-parallel", "double"],
)
def test_weights_are_found_however_they_were_wrapped(wrap: Callable, network: nn.Module, tmp_path: Path):
    torch.save(wrap(network.state_dict()), tmp_path / "a.pth")
    read = read_weights(f"{tmp_path}/a.pth")
    assert_read(read, network)
    assert read.arch in (None, "squeezenet1_1")


class Python2Pickler(pickle._Pickler):
    """Strings as Python 2 pickled them: bytes without an encoding."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def save_str(self, text: str) -> None:
        raw = text.encode("latin1")
        self.write(pickle.SHORT_BINSTRING + bytes([len(raw)]) + raw)
        self.memoize(text)

    dispatch[str] = save_str


def save_as_python2(content: dict[str, Any], path: Path) -> None:
    """As PyTorch 0.2 did under Python 2: several pickles, one after the other, instead of a zip archive."""
    python2 = SimpleNamespace(
        __name__="pickle",
        Pickler=Python2Pickler,
        dump=lambda value, file, protocol: Python2Pickler(file, protocol).dump(value),
    )
    torch.save(content, path, pickle_module=python2, pickle_protocol=2, _use_new_zipfile_serialization=False)


def test_the_places365_projects_files(tmp_path: Path, network: nn.Module):
    state = OrderedDict(
        (key.replace("features.", "features.module."), tensor) for key, tensor in network.state_dict().items()
    )
    content = {"epoch": 90, "arch": "squeezenet1_1", "state_dict": state, "best_prec1": 47.5, "host": "caf\xe9"}
    save_as_python2(content, tmp_path / "squeezenet_places365.pth.tar")
    assert b"X\x04\x00\x00\x00arch" not in (tmp_path / "squeezenet_places365.pth.tar").read_bytes()
    read = read_weights(f"{tmp_path}/squeezenet_places365.pth.tar")
    assert_read(read, network)
    assert read.arch == "squeezenet1_1"


def test_averages_are_read_on_demand(network: nn.Module, tmp_path: Path):
    average = torch.optim.swa_utils.AveragedModel(network)
    average.module.classifier[1].bias.data += 1.0
    torch.save({"model": network.state_dict(), "model_ema": average.state_dict()}, tmp_path / "a.pth")
    assert_read(read_weights(f"{tmp_path}/a.pth"), network)
    assert_read(read_weights(f"{tmp_path}/a.pth", averaged=True), average.module)
    torch.save(network.state_dict(), tmp_path / "b.pth")
    with pytest.raises(ModelError, match="holds no averaged weights"):
        read_weights(f"{tmp_path}/b.pth", averaged=True)


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_nothing_is_run_that_a_file_brings(tmp_path: Path):
    torch.save({"state_dict": {"weight": torch.ones(1)}, "trap": Trap(tmp_path / "sprung")}, tmp_path / "a.pth")
    with pytest.raises(ModelError, match=r"a\.pth: cannot be loaded safely \(it needs .*save the network's state_dict"):
        read_weights(f"{tmp_path}/a.pth")
    assert not (tmp_path / "sprung").exists()


def test_whole_networks_scripts_and_ancient_archives_are_refused(network: nn.Module, tmp_path: Path):
    torch.save(network, tmp_path / "whole.pth")
    with warnings.catch_warnings(action="ignore"):  # it is deprecated
        torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "script.pt")
    with tarfile.open(tmp_path / "ancient.pth.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("storages"))
    for name, reason in (
        ("whole.pth", "it needs torchvision"),
        ("script.pt", "TorchScript"),
        ("ancient.pth.tar", "0.1"),
    ):
        with pytest.raises(ModelError, match=rf"{name}: cannot be loaded safely \(.*{reason}.*\)") as error:
            read_weights(f"{tmp_path}/{name}")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [bytes(range(256)), b"\x80\x02X", b"\x80\x02}q\x00(X\x03\x00\x00\x00abcK\x01u."])
def test_other_content_is_one_line(content: bytes, tmp_path: Path):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ModelError, match=r"a\.pth: not a file of torch\.save, or a damaged one") as error:
        read_weights(f"{tmp_path}/a.pth")
    assert "\n" not in str(error.value)


def test_tensors_that_are_no_plain_arrays_are_refused_by_name(tmp_path: Path):
    for problem, tensor in (
        (r"sparse \(sparse_coo\): save tensor\.to_dense\(\)", torch.eye(3).to_sparse()),
        (r"sparse \(sparse_csr\)", torch.eye(3).to_sparse_csr()),
        (r"float8_e5m2, which has no exact float32 without its scales", torch.eye(3).to(torch.float8_e5m2)),
        ("complex64", torch.eye(3).to(torch.complex64)),
        ("without values", torch.empty(2, 2, device="meta")),
        (r"larger than what is stored of it \(\[1000000, 1000000\]\)", torch.ones(1).expand(10**6, 10**6)),
    ):
        with warnings.catch_warnings(action="ignore"):
            torch.save({"a.bias": torch.ones(2), "a.weight": tensor}, tmp_path / "a.pth")
        with pytest.raises(ModelError, match=rf"a\.pth: a\.weight is {problem}"):
            read_weights(f"{tmp_path}/a.pth")


def test_numbers_that_are_not_finite_are_refused(network: nn.Module, tmp_path: Path):
    for value in (float("nan"), float("inf")):
        network.classifier[1].bias.data[2] = value
        torch.save(network.state_dict(), tmp_path / "a.pth")
        with pytest.raises(ModelError, match=r"a\.pth: classifier\.1\.bias holds values that are no finite"):
            read_weights(f"{tmp_path}/a.pth")


def test_a_file_that_leads_back_into_itself_holds_no_weights(tmp_path: Path):
    content: dict[str, Any] = {"epoch": 1, 7: torch.ones(1)}
    content["model"] = content
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ModelError, match="holds no state_dict: its keys are epoch, 7, model"):
        read_weights(f"{tmp_path}/a.pth")


@pytest.mark.parametrize(
    ("content", "description"),
    [
        ({"epoch": 1, "lr": 0.1}, "its keys are epoch, lr"),
        ({}, "it is empty"),
        (torch.ones(2), "it is of type Tensor"),
    ],
)
def test_a_file_without_weights_tells_what_it_holds(content: object, description: str, tmp_path: Path):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ModelError, match=f"holds no state_dict: {description}"):
        read_weights(f"{tmp_path}/a.pth")


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["resnet18", "swin_t"])
def test_what_is_written_loads_strictly_into_torchvisions_model(arch: str, tmp_path: Path):
    with torch.device("meta"):
        network = torchvision.models.get_model(arch, num_classes=5)
    shapes = {key: tensor.shape for key, tensor in network.state_dict().items() if tensor.is_floating_point()}
    state = {key: np.full(shape, 0.5 + index, np.float32) for index, (key, shape) in enumerate(shapes.items())}
    torch_weights.write(tmp_path / "a.pth", state, arch, classes=5)
    network.load_state_dict(torch.load(tmp_path / "a.pth", weights_only=True), strict=True, assign=True)
    assert all(np.array_equal(array, state[key]) for key, array in torch_model.state(network).items())
