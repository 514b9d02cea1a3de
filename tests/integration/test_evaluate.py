"""Evaluation on a cluster gives what it gives here, also after a loss; and it reads what lies in a store."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load
from typer.testing import CliRunner

from cluster.local import LocalCluster
from scenerec.cli import app
from scenerec.errors import ModelError
from scenerec.inference.evaluation.evaluator import examine_here
from scenerec.inference.evaluation.metrics import Evaluation
from scenerec.inference.evaluation.request import EvaluationRequest
from scenerec.storage import open_storage
from tests.colour_set import CLASSES, PER_CLASS, pack_colours
from tests.held_file import HeldFile
from tests.patience import PATIENCE_S
from tests.tiny_bundle import make_tiny_bundle

import keras  # isort: skip  (after torchvision)
import tensorflow as tf


@pytest.fixture(scope="module")
def colours(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A set in the store."""
    packed = Path(pack_colours(tmp_path_factory.mktemp("colours")))
    store = open_storage("s3://scenes/colours")
    for path in packed.iterdir():
        if path.is_file():
            store.put(path.name, path)
    return "s3://scenes/colours"


def test_a_tflite_file_in_the_store(colours: str, tmp_path: Path) -> None:
    pixels = keras.Input((8, 8, 3), batch_size=1)
    model = keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(pixels))
    (tmp_path / "colours.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    open_storage("s3://scenes/tflite").put("colours.tflite", tmp_path / "colours.tflite")

    def examine(target: str) -> Evaluation:
        request = EvaluationRequest.model_validate({"subject": {"target": target}, "data": colours})
        return examine_here(request).evaluations[0]

    local, stored = examine(str(tmp_path / "colours.tflite")), examine("s3://scenes/tflite/colours.tflite")
    assert stored.predictor == "s3://scenes/tflite/colours.tflite"
    assert (stored.samples, stored.top1, stored.loss) == (3 * PER_CLASS, local.top1, local.loss)
    with pytest.raises(ModelError, match=r"other\.tflite: no such file"):
        examine("s3://scenes/tflite/other.tflite")


def test_workers_answer_as_one_process_does_also_when_one_dies(cluster: LocalCluster, tmp_path: Path) -> None:
    """One is killed while it reads the first shard."""
    model = make_tiny_bundle(tmp_path / "model", labels=CLASSES).url
    colours = pack_colours(tmp_path / "colours")
    first_shard = HeldFile(Path(colours) / "000000.tar")
    common = [model, "--data", colours, "--batch-size", "4", "--json"]
    output, report = f"s3://scenes/evaluations/{time.monotonic_ns()}", tmp_path / "report.html"
    arguments = [*common, "--workers", "2", "--output", output, "--report", str(report)]
    command = [sys.executable, "-m", "scenerec", "evaluate", *arguments]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        first_shard.kill_reader(running)
        stdout, stderr = running.communicate(timeout=2 * PATIENCE_S)
    finally:
        running.kill()
    assert running.returncode == 0, stderr
    assert "30 of 30 images" in stderr
    here = CliRunner().invoke(app, ["evaluate", *common, "--output", str(tmp_path / "here")])
    assert here.exit_code == 0, here.output
    shared, whole = json.loads(stdout), json.loads(here.stdout)
    for found in (shared, whole):  # all but the speed
        for key in ("images_per_s", "model_images_per_s"):
            del found["evaluation"][key]
    assert shared["evaluation"] == whole["evaluation"]
    store = open_storage(output)
    ours = load(store.get("predictions.safetensors"))
    theirs = load((tmp_path / "here" / "predictions.safetensors").read_bytes())
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    assert json.loads(store.get("evaluation.json"))["data"]["url"] == colours
    assert report.read_bytes() == store.get("report.html")


def test_what_a_worker_cannot_evaluate_is_said_as_here(cluster: LocalCluster, colours: str, tmp_path: Path) -> None:
    model = make_tiny_bundle(tmp_path / "model", labels=("a/red", "b/leaf", "c/sky")).url
    done = CliRunner().invoke(app, ["evaluate", model, "--data", colours, "--workers", "1"])
    assert done.exit_code == 4
    assert f"error: {model}: label 1 is 'b/leaf', and class 1 of {colours} is 'b/green'" in done.stderr
