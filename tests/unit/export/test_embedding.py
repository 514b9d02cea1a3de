"""Exports of backbones alone: of a pretraining, of a training and of a weight file, by each way to ONNX."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from scenerec.checkpoint import BEST_FILE, Checkpoint, LearnerState, RunState, save_checkpoint
from scenerec.cli import app
from scenerec.epoch_metrics import EpochMetrics
from scenerec.errors import ConfigError, ModelError
from scenerec.export.exporter import default_destination, export
from scenerec.export.options import Options, RouteChoice
from scenerec.export.quantization.accuracy_gate import GateError
from scenerec.export.source import Source, Stated, open_source
from scenerec.export.targets import find_target
from scenerec.export.verification import source_of, verify_bundle
from scenerec.inference.bundles.bundle import open_bundle
from scenerec.inference.predictors.onnx_predictor import OnnxPredictor
from scenerec.inference.predictors.trained_model import ZooNetwork
from scenerec.models import torch_encoder, torch_model
from scenerec.models.weights.files import write_weights
from scenerec.storage import open_storage
from scenerec.training.pretrain_heads import heads_of
from tests.matrix import keep
from tests.pretrain_run import MOCO, pretrain_config
from tests.unit.export.test_source import write_run

ARCH = "squeezenet1_1"
FEATURES = 512


@pytest.fixture(scope="module")
def run(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a pretraining, as its learner would have left it; its momentum encoder is another network."""
    config = pretrain_config(scenes, tmp_path_factory.mktemp("runs"), pretrain=MOCO)
    encoders = [
        torch_model.state(torch_encoder.build(ARCH, partial(heads_of, config.pretrain), seed)) for seed in (0, 1)
    ]
    epoch = EpochMetrics(epoch=1, validation={"val_loss": 1.0, "val_knn_top1": 0.5}, lr=0.1)
    state = RunState(
        epoch=1,
        step=0,
        global_step=2,
        identity={"model.arch": ARCH, "classes": 0, "training set": "f" * 64},
        plateau={},
        history=[epoch],
        partial={},
        config=config.model_dump(mode="json"),
        framework="torch",
        labels=(),
    )
    open_storage(config.run_url).put("config.yaml", b"kind: pretrain\n")  # by which it is known as a run
    checkpoints = open_storage(f"{config.run_url}/checkpoints")
    name = save_checkpoint(checkpoints, Checkpoint(state, LearnerState(encoders[0], {}, encoders[1])))
    checkpoints.put(BEST_FILE, json.dumps({"checkpoint": name, "val_knn_top1": 0.5}).encode())
    return config.run_url


@pytest.fixture(scope="module")
def source(run: str) -> Source:
    return open_source(run)


def features(images: np.ndarray) -> np.ndarray:
    """Of the encoder that was trained, by torch alone: uint8 [n, 32, 32, 3] -> float32 [n, FEATURES]."""
    mean, std = (np.float32(each) for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    pixels = ((images.astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2)
    with torch.no_grad():
        encoder = torch_encoder.build(ARCH, lambda features: {}, 0).eval()
        return encoder(torch.from_numpy(np.ascontiguousarray(pixels))).numpy()


@pytest.mark.slow
def test_a_pretraining_becomes_a_bundle_of_its_features(run: str, source: Source, scenes: Path, tmp_path: Path) -> None:
    """Those of the trained encoder, not of the momentum encoder, at the place where a run's bundle is looked for."""
    assert (source.task, source.labels, source.validation_set) == ("embedding", (), f"{scenes}/val")
    destination = default_destination(source, Options())
    assert destination == f"{run}/bundles/fp32"
    info = export(source, destination, Options(images=16)).info
    assert (info.task, info.labels, info.validation, info.places) == ("embedding", (), None, {})
    assert [(output.name, output.dtype, output.shape) for output in info.outputs] == [
        ("embedding", "float32", ("batch", FEATURES))
    ]
    assert info.verification is not None and info.verification.cosine is not None
    assert info.verification.max_difference < 1e-5 and info.verification.cosine > 0.999999
    assert info.metrics["val_knn_top1"] > 0
    bundle = open_bundle(destination)
    images = bundle.golden.images
    np.testing.assert_allclose(OnnxPredictor(bundle).logits(images), features(images), rtol=1e-4, atol=1e-5)
    again = verify_bundle(bundle, source_of(bundle), images=8)
    assert again.cosine is not None and again.cosine > 0.999999

    photograph = tmp_path / "green.png"
    Image.new("RGB", (40, 40), "green").save(photograph)
    told = CliRunner().invoke(
        app, ["predict", str(photograph), "--model", run, "--json"]
    )  # a run stands for its bundle
    assert told.exit_code == 0, told.output
    assert len(json.loads(told.stdout)["embedding"]) == FEATURES


@pytest.mark.slow
@pytest.mark.parametrize("route", keep(("tf2onnx",), ("tf2onnx", "twin")))
def test_tensorflow_gives_the_same_features(source: Source, tmp_path: Path, route: RouteChoice) -> None:
    ours = export(source, str(tmp_path / "torch"), Options(images=8)).info
    theirs = export(replace(source, framework="tensorflow"), str(tmp_path / route), Options(images=8, route=route)).info
    assert (ours.lineage.route, theirs.lineage.route) == ("torch", route)
    assert theirs.outputs == ours.outputs
    first, second = (open_bundle(str(tmp_path / name)) for name in ("torch", route))
    images = first.golden.images
    np.testing.assert_allclose(second.golden.logits, OnnxPredictor(first).logits(images), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.matrix
def test_half_precision_and_int8_pass_by_their_angles(source: Source, tmp_path: Path) -> None:
    half = export(source, str(tmp_path / "fp16"), Options(precision="fp16", images=8)).info
    assert half.verification is not None and half.verification.cosine is not None and half.verification.cosine > 0.999
    said: list[object] = []  # of a target on which nothing is timed
    target = find_target("npu")
    options = Options(precision="int8", target=target, images=8, calibration_images=16, max_top1_drop=10)
    taken = export(source, str(tmp_path / "int8"), options, said.append).info.quantization["taken"]
    assert taken["cosine"] > 0.9 and "top1" not in taken and 0 <= taken["agreement"] <= 1
    assert any(node.op_type == "QuantizeLinear" for node in onnx.load(tmp_path / "int8" / "model.onnx").graph.node)
    assert any("cosine to float32" in str(line) for line in said)
    with pytest.raises(GateError, match="no int8 bundle"):
        export(source, str(tmp_path / "none"), replace(options, max_top1_drop=-200))


def test_a_weight_file_needs_no_head(tmp_path: Path) -> None:
    state = torch_model.state(torch_encoder.build(ARCH, lambda features: {}, 0))
    file = str(tmp_path / "backbone.safetensors")
    write_weights(file, "safetensors", state, ARCH, 0, 32)
    with pytest.raises(ModelError, match=r"classifier\.1\.weight is missing \(--embedding takes the features\)"):
        open_source(file, stated=Stated(labels=("a",)))
    found = open_source(file, stated=Stated(embedding=True))
    assert (found.task, found.labels) == ("embedding", ()) and found.network.classes == 0  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="--labels: embeddings name no classes: leave it out"):
        open_source(file, stated=Stated(embedding=True, labels=("a",)))


def test_a_training_gives_its_features_as_well(tmp_path: Path) -> None:
    trained = str(write_run(tmp_path / "photos"))
    source = open_source(trained, stated=Stated(embedding=True))
    assert (source.task, source.labels) == ("embedding", ())
    assert default_destination(source, Options()) == f"{trained}/bundles/embedding-fp32"
    assert default_destination(source, Options(target=find_target("cuda"))).endswith("/bundles/cuda-embedding-fp32")
    network, whole = source.network, open_source(trained).network
    assert isinstance(network, ZooNetwork) and isinstance(whole, ZooNetwork)
    assert network.classes == 0 and whole.state.keys() - network.state.keys() == {"fc.weight"}


def test_what_is_of_classes_is_refused_at_once(source: Source, tmp_path: Path) -> None:
    destination = str(tmp_path / "bundle")
    for options, said in (
        (Options(precision="tflite-int8"), "gives embeddings, which are exported to ONNX alone"),
        (Options(hub_folder=tmp_path / "hub"), "--hub-folder: is for models that name classes"),
        (Options(abstain_precision=0.9), "--abstain-precision: is for models that name classes"),
    ):
        with pytest.raises(ConfigError, match=said):
            export(source, destination, options)
    assert not Path(destination).exists()
