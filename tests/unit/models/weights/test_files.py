import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from scenerec.checkpoint import BEST_FILE, Checkpoint, LearnerState, RunState, save_checkpoint
from scenerec.errors import CheckpointError, ModelError, NotFoundError
from scenerec.models import torch_model
from scenerec.models.neutral import State
from scenerec.models.weights.files import read_weights, write_weights
from scenerec.models.weights.formats import file_format, written_format
from scenerec.storage import open_storage

CONFIG = {"model": {"arch": "resnet18"}, "data": {"image_size": 160}}


def weights(seed: int) -> State:
    rng = np.random.default_rng(seed)
    return {key: rng.normal(size=shape).astype("float32") for key, shape in (("fc.weight", (5, 4)), ("fc.bias", (5,)))}


def save_step(run: Path, step: int, ema: State | None = None) -> str:
    """A checkpoint of the run whose weights are `weights(step)`; returns its folder."""
    state = RunState(
        epoch=0,
        step=step,
        global_step=step,
        identity={},
        plateau={},
        history=[],
        partial={},
        config=CONFIG,
        framework="torch",
    )
    learner = LearnerState(weights(step), {"momentum_buffer": weights(step + 100)}, ema or {})
    return f"{run}/checkpoints/{save_checkpoint(open_storage(f'{run}/checkpoints'), Checkpoint(state, learner))}"


def assert_equal(actual: State, expected: State) -> None:
    assert set(actual) == set(expected)
    for key, array in expected.items():
        assert actual[key].dtype == np.float32
        assert np.array_equal(actual[key], array), key


@pytest.mark.parametrize(("kind", "name"), [("safetensors", "weights.safetensors"), ("checkpoint", "weights")])
def test_what_is_written_comes_back_with_what_it_is(kind: str, name: str, tmp_path: Path):
    url = f"{tmp_path}/new/{name}"
    size_bytes = write_weights(url, kind, weights(0), "resnet18", classes=5, image_size=160)
    read = read_weights(url)
    assert_equal(read.state, weights(0))
    assert (read.arch, read.image_size, read.format) == ("resnet18", 160, kind)
    assert size_bytes == sum(file.stat().st_size for file in tmp_path.rglob("*.safetensors"))


def test_narrow_floats_are_widened_and_counters_left_out(tmp_path: Path):
    values = torch.tensor([1.0, -2.5, 3e-5, 0.1])
    tensors = {str(dtype): values.to(dtype) for dtype in (torch.bfloat16, torch.float16, torch.float32)}
    save_file({**tensors, "bn.num_batches_tracked": torch.tensor(7)}, tmp_path / "a.safetensors", {"arch": "no such"})
    read = read_weights(f"{tmp_path}/a.safetensors")
    assert_equal(read.state, {key: tensor.float().numpy() for key, tensor in tensors.items()})
    assert (read.arch, read.image_size) == (None, None)


def test_old_and_wrapped_names_become_torchvisions(tmp_path: Path):
    names = {
        "module.conv1.weight": "conv1.weight",
        "features.module.0.weight": "features.0.weight",
        "module.denseblock1.denselayer2.norm.1.running_mean": "denseblock1.denselayer2.norm1.running_mean",
        "denseblock1.denselayer2.conv.2.weight": "denseblock1.denselayer2.conv2.weight",
        "features.norm0.bias": "features.norm0.bias",
    }
    auxiliary = ("aux1.fc2.bias", "aux2.conv.conv.weight", "AuxLogits.fc.weight")
    save_file({key: torch.ones(2) for key in (*names, *auxiliary)}, tmp_path / "a.safetensors")
    read = read_weights(f"{tmp_path}/a.safetensors")
    assert set(read.state) == set(names.values())
    assert set(read.left_out) == set(auxiliary)


@pytest.mark.parametrize("arch", ["densenet121", "mobilenet_v3_small"])
def test_todays_names_stay(arch: str, tmp_path: Path):
    state = torch_model.state(torch_model.build(arch, 5, seed=0))
    write_weights(f"{tmp_path}/a.safetensors", "safetensors", state, arch, classes=5, image_size=64)
    assert_equal(read_weights(f"{tmp_path}/a.safetensors").state, state)


def test_a_checkpoint_tells_what_it_is(tmp_path: Path):
    read = read_weights(save_step(tmp_path, 3))
    assert_equal(read.state, weights(3))
    assert (read.arch, read.image_size, read.format) == ("resnet18", 160, "checkpoint")


def test_averages_stand_in_for_the_parameters_and_the_statistics_stay(tmp_path: Path):
    folder = save_step(tmp_path, 3, ema={"fc.weight": weights(9)["fc.weight"]})
    averaged = {"fc.weight": weights(9)["fc.weight"], "fc.bias": weights(3)["fc.bias"]}
    assert_equal(read_weights(folder, averaged=True).state, averaged)
    assert_equal(read_weights(folder).state, weights(3))


def test_where_there_are_no_averages_they_are_not_made_up(tmp_path: Path):
    write_weights(f"{tmp_path}/a.safetensors", "safetensors", weights(0), "resnet18", classes=5, image_size=64)
    for url in (save_step(tmp_path, 3), f"{tmp_path}/a.safetensors"):
        with pytest.raises(ModelError, match="holds no averaged weights"):
            read_weights(url, averaged=True)


def test_a_run_stands_for_its_best_checkpoint(tmp_path: Path):
    for step in (1, 2, 3):
        save_step(tmp_path, step)
    with pytest.raises(CheckpointError, match=r"no best checkpoint yet: name one, as .*/checkpoints/step-000000003"):
        read_weights(str(tmp_path))
    (tmp_path / "checkpoints" / BEST_FILE).write_text(json.dumps({"checkpoint": "step-000000002", "val_top1": 0.5}))
    assert_equal(read_weights(str(tmp_path)).state, weights(2))


def test_a_damaged_checkpoint_is_refused(tmp_path: Path):
    folder = Path(save_step(tmp_path, 3))
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: checksum mismatch"):
        read_weights(str(folder))
    (folder / "state.json").write_text('{"version": 2}')
    with pytest.raises(CheckpointError, match=r"state\.json: not a checkpoint of this version"):
        read_weights(str(folder))


def test_a_runs_checkpoint_is_never_written_over(tmp_path: Path):
    folder = save_step(tmp_path, 3)
    with pytest.raises(CheckpointError, match="must stay as it is"):
        write_weights(folder, "checkpoint", weights(0), "resnet18", classes=5, image_size=64)
    assert_equal(read_weights(folder).state, weights(3))


def test_what_is_not_there_or_no_weights_is_one_line(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.safetensors").write_bytes(b"broken")
    for url, error, message in (
        (f"{tmp_path}/gone.pth", NotFoundError, r"gone\.pth: no such file"),
        (f"{tmp_path}/gone", ModelError, "gone: no weights are there: name a .safetensors, .pth"),
        (f"{tmp_path}/empty", ModelError, "empty: no weights are there"),
    ):
        with pytest.raises(error, match=message):
            read_weights(url)
    with pytest.raises(ModelError, match=r"broken\.safetensors: not a safetensors file"):
        read_weights(f"{tmp_path}/broken.safetensors")


def test_formats_by_suffix():
    names = ("a.safetensors", "s3://b/a.pth", "a.pt", "a.pth.tar", "a.keras", "a.tar", "a", "s3://b/run.v1/step-1")
    formats = ["safetensors", "torch", "torch", "torch", "keras", None, None, None]
    assert [file_format(name) for name in names] == formats
    assert [written_format(name) for name in names] == formats
    read_alone = ("a.ckpt", "a.BIN", "a.pt2", "a.h5", "a.hdf5")
    assert [file_format(name) for name in read_alone] == ["torch", "torch", "torch", "keras", "keras"]
    assert [written_format(name) for name in read_alone] == [None] * 5
