"""What can be exported: found, described, and refused with the remedy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from scenerec.checkpoint import BEST_FILE, Checkpoint, LearnerState, RunState, save_checkpoint
from scenerec.epoch_metrics import EpochMetrics
from scenerec.errors import CheckpointError, ConfigError, ModelError
from scenerec.export.source import (
    KerasNetwork,
    Stated,
    TorchNetwork,
    keras_source,
    open_source,
    torch_source,
    with_plain_input,
)
from scenerec.inference.predictors.trained_model import ZooNetwork, find_checkpoint, read_labels
from scenerec.storage import open_storage

LABELS = ("beach", "city", "forest")


def weights(value: float) -> dict[str, np.ndarray]:
    return {"fc.weight": np.full((3, 2), value, np.float32), "bn.running_mean": np.full(2, value, np.float32)}


def write_run(folder: Path, labels: tuple[str, ...] = LABELS, averages: bool = False, **data: Any) -> Path:
    """A run of two epochs, three steps each, with a checkpoint in the middle of the third."""
    storage = open_storage(f"{folder}/checkpoints")
    epochs = [
        EpochMetrics(epoch=epoch, validation={"val_loss": 1.0, "val_top1": epoch / 10, "val_top5": 0.9}, lr=0.1)
        for epoch in (1, 2)
    ]
    for step in (3, 6, 7):
        run = RunState(
            epoch=step // 3,
            step=step % 3,
            global_step=step,
            identity={"model.arch": "resnet18", "classes": 3, "training set": "f" * 64},
            plateau={},
            history=epochs[: step // 3],
            partial={},
            config={
                "name": "photos",
                "model": {"arch": "resnet18"},
                "data": {"train": "/nowhere", "val": "/val", "image_size": 64, "eval_crop_ratio": 0.9, **data},
            },
            framework="tensorflow",
            labels=labels,
        )
        ema = {"fc.weight": weights(-step)["fc.weight"]} if averages else {}
        save_checkpoint(storage, Checkpoint(run, LearnerState(weights(step), {}, ema)))
    storage.put(BEST_FILE, b'{"checkpoint": "step-000000003", "val_top1": 0.1}')
    return folder


@pytest.mark.parametrize(
    ("checkpoint", "step", "metrics"),
    [
        ("best", 3, {"val_top1": 0.1, "val_top5": 0.9, "val_loss": 1.0}),
        ("step-000000006", 6, {"val_top1": 0.2, "val_top5": 0.9, "val_loss": 1.0}),
        ("last", 7, {}),
    ],
)
def test_a_run_is_exported_from_the_checkpoint_that_is_asked_for(
    tmp_path: Path, checkpoint: str, step: int, metrics: dict[str, float]
) -> None:
    run = write_run(tmp_path / "photos")
    source = open_source(str(run), checkpoint)
    assert source.address == f"{run}/checkpoints/step-{step:09d}"
    assert source.metrics == metrics
    assert isinstance(source.network, ZooNetwork)
    assert source.network.state["fc.weight"][0, 0] == step
    assert (source.name, source.framework, source.labels) == ("photos", "tensorflow", LABELS)
    assert (source.preprocessing.image_size, source.preprocessing.eval_crop_ratio) == (64, 0.9)
    assert (source.run_url, source.validation_set, source.dataset_fingerprint) == (str(run), "/val", "f" * 64)


def test_a_checkpoints_own_address_does_as_well(tmp_path: Path) -> None:
    run = write_run(tmp_path / "photos")
    assert open_source(f"{run}/checkpoints/step-000000006/").metrics["val_top1"] == 0.2  # type: ignore[index]


def test_averages_take_the_parameters_place_and_leave_the_statistics(tmp_path: Path) -> None:
    source = open_source(str(write_run(tmp_path / "photos", averages=True)))
    assert source.averaged
    assert isinstance(source.network, ZooNetwork)
    assert source.network.state["fc.weight"][0, 0] == -3
    assert source.network.state["bn.running_mean"][0] == 3


def test_class_names_come_from_the_checkpoint_or_the_training_set_or_the_user(tmp_path: Path, scenes: Path) -> None:
    old = write_run(tmp_path / "old", labels=(), train=f"{scenes}/train")
    with pytest.raises(ConfigError, match="has 3 classes, --labels names 4"):
        open_source(str(old))  # from the set, which has another one
    lost = write_run(tmp_path / "lost", labels=())
    with pytest.raises(ConfigError, match="its class names are not known: give them with --labels FILE"):
        open_source(str(lost))
    assert open_source(str(lost), stated=Stated(labels=("a", "b", "c"))).labels == ("a", "b", "c")


def test_what_is_stated_goes_over_what_the_run_says(tmp_path: Path) -> None:
    stated = Stated(name="mine", image_size=96, mean=(0.5, 0.5, 0.5))
    source = with_plain_input(open_source(str(write_run(tmp_path / "photos")), stated=stated))
    assert source.name == "mine"
    assert (source.preprocessing.image_size, source.preprocessing.mean) == (96, (0.5, 0.5, 0.5))
    assert not source.preprocessing.in_graph
    with pytest.raises(ConfigError, match=r"--arch resnet50: .* is a resnet18: leave --arch out"):
        open_source(str(tmp_path / "photos"), stated=Stated(arch="resnet50"))


def test_a_checkpoint_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    run = write_run(tmp_path / "photos")
    with pytest.raises(CheckpointError, match="has no checkpoint step-9: there are step-000000003, step-000000006"):
        find_checkpoint(str(run), "step-9")
    (run / "checkpoints" / BEST_FILE).unlink()
    with pytest.raises(CheckpointError, match=r"no epoch is finished.*`--checkpoint last`"):
        find_checkpoint(str(run))
    with pytest.raises(ModelError, match="neither a run's folder"):
        open_source(str(tmp_path))


def test_a_weight_file_needs_what_it_does_not_tell(tmp_path: Path) -> None:
    path = tmp_path / "published.safetensors"
    save_file({"fc.weight": np.zeros((3, 512), np.float32)}, path)
    with pytest.raises(ConfigError, match="does not tell its architecture: name it, such as --arch resnet50"):
        open_source(str(path))
    with pytest.raises(ConfigError, match="its class names are not known"):
        open_source(str(path), stated=Stated(arch="resnet18"))
    with pytest.raises(ModelError, match=r"do not fit mobilenet_v2: classifier\.1\.weight is missing"):
        open_source(str(path), stated=Stated(arch="mobilenet_v2", labels=LABELS))
    source = open_source(str(path), stated=Stated(arch="resnet18", labels=LABELS))
    assert (source.name, source.framework, source.run_url) == ("published", None, None)
    assert (source.preprocessing.image_size, source.preprocessing.eval_crop_ratio) == (224, 0.875)


def test_models_of_others_need_size_and_labels(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="os:getcwd: state the side of its images in pixels: --image-size 224"):
        torch_source("os:getcwd", Stated(labels=LABELS))
    with pytest.raises(ConfigError, match="must be MODULE:CALLABLE"):
        torch_source("my_models", Stated(labels=LABELS, image_size=8))
    with pytest.raises(ModelError, match="no such file"):
        keras_source(tmp_path / "absent.keras", Stated(labels=LABELS, image_size=8))
    (tmp_path / "own.keras").touch()
    ours = keras_source(tmp_path / "own.keras", Stated(labels=LABELS, image_size=8))
    theirs = torch_source("os:getcwd", Stated(labels=LABELS, image_size=8))
    assert (ours.name, ours.network) == ("own", KerasNetwork(tmp_path / "own.keras"))
    assert (theirs.name, theirs.network) == ("getcwd", TorchNetwork("os:getcwd")), "nothing is imported yet"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "names no class: write one class name a line"),
        (b"beach\nbeach\n", "class `beach` stands twice, as class 0 and 1"),
        (b"beach\n\nforest\n", "line 2 is empty"),
        (b"\xff\xfe\x00", "is not UTF-8 text: write one class name a line"),
    ],
)
def test_a_file_that_is_no_list_of_names_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "classes.txt").write_bytes(content)
    with pytest.raises(ConfigError, match=problem):
        read_labels(str(tmp_path / "classes.txt"))


def test_labels_that_a_run_has_in_another_order_are_refused(tmp_path: Path) -> None:
    run = str(write_run(tmp_path / "photos"))
    with pytest.raises(ConfigError, match=f"--labels: label 0 is '{LABELS[1]}', which is class 1 of {run}"):
        open_source(run, stated=Stated(labels=(LABELS[1], LABELS[0], LABELS[2])))
    translated = ("Strand", f" {LABELS[1]}", "Wald")
    assert open_source(run, stated=Stated(labels=translated)).labels == translated


def test_labels_are_lines(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("beach\n airfield/outdoor \nforest\n\n")
    assert read_labels(str(tmp_path / "classes.txt")) == ("beach", "airfield/outdoor", "forest")
