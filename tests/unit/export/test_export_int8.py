"""Exports in int8: the whole way from a torch module to a bundle, or to a reason why there is none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scenerec.errors import ConfigError
from scenerec.export.exporter import export
from scenerec.export.graphs import hub_graph
from scenerec.export.options import Options
from scenerec.export.quantization.accuracy_gate import GateError
from scenerec.export.source import Source, Stated, torch_source, with_plain_input
from scenerec.export.targets import find_target
from scenerec.inference.bundles.bundle import open_bundle
from scenerec.inference.predictors.golden import check_golden
from scenerec.inference.predictors.onnx_predictor import OnnxPredictor, network_input, open_session

MODEL = """
from torch import nn

def build():
    features = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    return nn.Sequential(features, nn.Flatten(), nn.Linear(8, 4))
"""


@pytest.fixture(autouse=True)
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "int8_models.py").write_text(MODEL)
    monkeypatch.syspath_prepend(str(tmp_path))


def source() -> Source:
    return torch_source("int8_models:build", Stated(labels=("a", "b", "c", "d"), image_size=32))


@pytest.fixture
def options(scenes: Path) -> Options:
    """For another machine: nothing is timed."""
    return Options(
        precision="int8",
        target=find_target("npu"),
        data=f"{scenes}/val",
        images=12,
        calibration_data=f"{scenes}/train",
        calibration_images=16,
        max_top1_drop=100.0,
    )


@pytest.mark.slow
def test_an_int8_bundle_says_how_it_was_made(tmp_path: Path, options: Options) -> None:
    said: list[object] = []
    exported = export(source(), str(tmp_path / "bundle"), options, said.append)
    bundle = open_bundle(str(tmp_path / "bundle"))
    assert bundle.info == exported.info
    assert (bundle.info.precision, bundle.info.inputs[0].shape[0]) == ("int8", 1)
    report = bundle.info.quantization
    assert report["taken"]["per_channel"] is False and report["taken"]["images"] == 36
    assert report["calibration_images"] == 16 and report["taken"]["speed"] == []
    assert any("static, all, per tensor, uint8, min-max: top-1" in str(line) for line in said)
    assert bundle.info.verification is not None and 1e-4 < bundle.info.verification.max_difference < 0.2
    assert check_golden(OnnxPredictor(bundle), bundle) < 1e-5
    assert exported.model is not None
    assert any(node.op_type == "QuantizeLinear" for node in exported.model.graph.node)

    for_hub = open_session(hub_graph.for_hub(exported.model, 2.0).SerializeToString())  # a graph that is quantised
    images, plain = bundle.golden.images[:1], bundle.info.preprocessing.model_copy(update={"in_graph": False})
    (logits,) = for_hub.run(None, {"pixel_values": network_input(images, plain)})
    np.testing.assert_allclose(logits * np.float32(2), bundle.golden.logits[:1], atol=1e-4)


@pytest.mark.slow
def test_without_a_way_through_the_gate_nothing_is_written(tmp_path: Path, options: Options) -> None:
    with pytest.raises(GateError, match=f"^{tmp_path}/bundle: no int8 bundle"):
        export(source(), str(tmp_path / "bundle"), replace(options, max_top1_drop=-101.0))
    assert not (tmp_path / "bundle").exists()


def test_what_int8_needs_is_asked_for(tmp_path: Path, options: Options) -> None:
    destination = str(tmp_path / "bundle")
    with pytest.raises(ConfigError, match="no images to calibrate on: name a packed set with --calibration-data"):
        export(source(), destination, replace(options, calibration_data=None))
    with pytest.raises(ConfigError, match="no images to measure the accuracy on: name a packed set with --data"):
        export(source(), destination, replace(options, data=None))
    with pytest.raises(ConfigError, match="--plain-input: is for ONNX"):
        export(with_plain_input(source()), destination, replace(options, precision="tflite-int8"))


@pytest.mark.slow
def test_a_plain_input_is_calibrated_on_what_it_takes(tmp_path: Path, options: Options) -> None:
    exported = export(with_plain_input(source()), str(tmp_path / "bundle"), options)
    bundle = open_bundle(str(tmp_path / "bundle"))
    assert (exported.info.inputs[0].name, exported.info.inputs[0].dtype) == ("pixels", "float32")
    assert np.isfinite(OnnxPredictor(bundle).logits(bundle.golden.images)).all()
    assert exported.info.quantization["taken"]["snr_db"] > 20
