"""From runs in both frameworks to bundles, and back to the command line that checks them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from scenerec.cli import app
from scenerec.config.train import TrainConfig
from scenerec.data.synthetic_scenes import PLACES
from scenerec.errors import ConfigError
from scenerec.export.conversion.child_process import ChildLimits
from scenerec.export.exporter import default_destination, export
from scenerec.export.options import Options
from scenerec.export.source import Stated, keras_source, open_source
from scenerec.export.steps import Step
from scenerec.inference.bundles.bundle import open_bundle, read_info
from scenerec.inference.predictors.onnx_predictor import OnnxPredictor
from scenerec.inference.predictors.open_predictor import open_predictor
from tests.local_run import train_here

ARCHITECTURES = {"torch": "resnet18", "tensorflow": "squeezenet1_1"}


@pytest.fixture(scope="module")
def run(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The folder of a short run in a framework, with averaged weights; trained when first asked for."""
    output, done = tmp_path_factory.mktemp("runs"), set[str]()

    def trained(framework: str) -> str:
        config = TrainConfig.model_validate(
            {
                "kind": "train",
                "name": framework,
                "framework": framework,
                "data": {"train": f"{scenes}/train", "val": f"{scenes}/val", "image_size": 32},
                "model": {"arch": ARCHITECTURES[framework]},
                "optimize": {
                    "epochs": 2 if framework == "torch" else 1,
                    "global_batch_size": 20,
                    "lr": 0.02,
                    "ema_decay": 0.5,
                },
                "output": str(output),
            }
        )
        if framework not in done:
            train_here(config)
            done.add(framework)
        return config.run_url

    return trained


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def some_images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


def test_predict_takes_a_run_and_exports_it_once(run: Callable[[str], str], scenes_folder: Path) -> None:
    """As a user's processes: what the export says goes past Python's standard error."""
    url = run("torch")
    image = next(scenes_folder.glob("val/*/*.*"))
    said = []
    for _ in range(2):
        command = [sys.executable, "-m", "scenerec", "predict", str(image), "--model", url, "--json"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert len(json.loads(done.stdout)["predictions"]) == 4
        said.append(done.stderr)
    assert f"{url}: it has no bundle yet: exporting step-" in said[0] and said[1] == ""
    assert read_info(f"{url}/bundles/fp32").name == "torch"


def test_a_torch_run_by_the_command_line(run: Callable[[str], str], tmp_path: Path) -> None:
    url = run("torch")
    shown = command("export", url, "--images", 20, "--check", "--json")
    assert shown.exit_code == 0, shown.output
    printed = json.loads(shown.stdout)
    assert printed["url"] == f"{url}/bundles/fp32"
    info = read_info(printed["url"])
    assert printed["info"] == info.model_dump(mode="json")
    assert (info.lineage.framework, info.lineage.route, info.lineage.arch) == ("torch", "torch", "resnet18")
    assert info.lineage.config["name"] == "torch"
    assert set(info.metrics) == {"val_top1", "val_top5", "val_loss"}
    assert len(info.labels) == 4
    assert info.places == {label: PLACES[label] for label in info.labels}
    assert {each["provider"]: each["share"] for each in printed["providers"]}["TensorRT"] == 1

    bundle, checkpoint = OnnxPredictor(open_bundle(printed["url"])), open_predictor(url)
    expected = checkpoint.logits(some_images())
    np.testing.assert_allclose(bundle.logits(some_images()), expected, atol=1e-4 * np.abs(expected).max())
    assert bundle.labels == checkpoint.labels

    assert command("verify", printed["url"], "--images", 20).exit_code == 0
    assert "golden images" in command("verify", printed["url"], "--golden").stdout
    (other_epoch,) = {f"{url}/checkpoints/step-{step:09d}" for step in (5, 10)} - {info.lineage.source}
    other = command("verify", printed["url"], "--images", 20, "--against", other_epoch)
    assert other.exit_code == 8
    assert "answers otherwise" in other.stderr


def test_half_precision_and_fusions_stay_within_their_tolerance(run: Callable[[str], str], tmp_path: Path) -> None:
    url = run("torch")
    half = command("export", url, "--target", "cuda", "--images", 20, "--json")
    fused = command("export", url, "--target", "cpu-x86", "--plain-input", "-o", tmp_path / "fused", "--json")
    assert half.exit_code == fused.exit_code == 0, half.output + fused.output
    of_half, of_fused = (json.loads(shown.stdout) for shown in (half, fused))
    assert of_half["url"] == f"{url}/bundles/cuda-fp16"
    assert of_half["info"]["precision"] == "fp16"
    assert of_half["info"]["outputs"][1]["dtype"] == "float32"
    sizes = [each["info"]["files"]["model.onnx"]["size_bytes"] for each in (of_half, of_fused)]
    assert sizes[0] < 0.55 * sizes[1]
    assert of_fused["info"]["inputs"][0] == {"name": "pixels", "dtype": "float32", "shape": ["batch", 3, 32, 32]}


def test_a_tensorflow_run_by_tf2onnx_and_through_its_twin(run: Callable[[str], str], tmp_path: Path) -> None:
    source = open_source(run("tensorflow"))
    assert source.averaged
    said: list[Step | str] = []
    starved = Options(images=8, limits=ChildLimits(memory_bytes=200 << 20))
    infos = [
        export(source, default_destination(source, Options()), Options(images=20)).info,
        export(source, str(tmp_path / "fallen-back"), starved, said.append).info,
    ]
    assert [info.lineage.route for info in infos] == ["tf2onnx", "twin"]
    assert [step for step in said if isinstance(step, str)] == [
        f"through the torch twin, as tf2onnx gives up: {source.address}: tf2onnx needs more than 0.2 GiB of memory",
        "no temperature is fitted on 36 images: 100 are needed",
    ]
    for info in infos:
        assert info.lineage.framework == "tensorflow"
        assert info.verification is not None
        assert info.verification.max_difference < 1e-5


def test_a_keras_model_of_others_with_its_own_softmax(tmp_path: Path, scenes: Path) -> None:
    images = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(images)
    x = keras.layers.Dense(4, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x))
    keras.Model(images, x).save(tmp_path / "own.keras")
    stated = Stated(labels=("a", "b", "c", "d"), image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    source = keras_source(tmp_path / "own.keras", stated)
    with pytest.raises(ConfigError, match="only networks that scenerec built have a torch twin"):
        export(source, str(tmp_path / "bundle"), Options(data=f"{scenes}/val", images=8, route="twin"))
    info = export(source, str(tmp_path / "bundle"), Options(data=f"{scenes}/val", images=8)).info
    assert (info.name, info.lineage.route, info.lineage.arch) == ("own", "tf2onnx", None)
    assert info.verification is not None
    assert info.verification.max_difference < 1e-5
    assert command("verify", tmp_path / "bundle", "--data", f"{scenes}/val", "--images", 8).exit_code == 0


def test_what_cannot_be_exported_is_one_line(run: Callable[[str], str], tmp_path: Path) -> None:
    url = run("torch")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "beach.jpg").touch()
    for arguments, code, told in (
        ((tmp_path,), 6, "neither a run's folder"),
        ((), 2, "name one SOURCE"),
        ((url, "--keras", tmp_path), 2, "name one SOURCE"),
        ((url, "--target", "tpu"), 2, "--list-targets"),
        ((url, "--mean", "0.5"), 2, "--mean 0.5: must be three numbers"),
        ((url, "--data", tmp_path / "absent"), 4, "no packed data set"),
        ((url, "--images", 4, "-o", tmp_path / "photos"), 8, "holds beach.jpg"),
    ):
        shown = command("export", *arguments)
        assert shown.exit_code == code, shown.output
        errors = [line for line in shown.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        assert told in errors[0]


def test_targets_are_listed_without_a_source() -> None:
    listed: list[dict[str, Any]] = json.loads(command("export", "--list-targets", "--json").stdout)
    assert "cuda" in {target["name"] for target in listed}
