"""The search for an int8 model, and its gates. Speeds are never compared: the gates are wide open or shut."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scenerec.data.packed_set import PackedSet, open_set
from scenerec.export.graphs import network_graph
from scenerec.export.quantization.accuracy_gate import GateError, score
from scenerec.export.quantization.int8_search import Settings, quantize_bundle
from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.predictors.onnx_predictor import OnnxPredictor
from scenerec.inference.predictors.predictor import Predictor
from tests.colour_set import PER_CLASS, WRONG, pack_colours
from tests.unit.export.colour_network import colour_model, random_images, write_bundle

IMAGES = 3 * PER_CLASS
OPEN = Settings(
    calibration_images=12,
    evaluation_images=IMAGES,
    max_top1_drop=0.0,
    min_speedup=0.0,
    seconds=0.0,
    threads=1,
    thorough=True,
)


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> PackedSet:
    return open_set(pack_colours(tmp_path_factory.mktemp("colours")))


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_bundle(colour_model(), tmp_path / "fp32")


def test_what_passes_both_gates_is_taken(bundle: Bundle, colours: PackedSet, tmp_path: Path) -> None:
    said: list[str] = []
    quantized = quantize_bundle(bundle, colours, colours, OPEN, said.append)
    fp32, taken = quantized.report["fp32"], quantized.report["taken"]
    assert fp32["top1"] == pytest.approx(1 - WRONG / IMAGES) and fp32["images"] == IMAGES
    assert taken["top1"] >= fp32["top1"] and taken["snr_db"] > 20
    assert set(taken["float_layers"]) <= {"stem/Conv", "large/Conv", "head/Gemm"}
    assert [entry["batch_size"] for entry in taken["speed"]] == [1, 8]
    recipes = [trial["form"] for trial in quantized.report["trials"]]
    assert len(recipes) == len(set(recipes)) == len(said) - 1 >= 8
    assert all(recipe in line for recipe, line in zip(recipes, said[1:], strict=True))
    network_graph.save(quantized.model, tmp_path)
    int8: Predictor = OnnxPredictor(Bundle(tmp_path, bundle.info, "int8"))
    fp32_model: Predictor = OnnxPredictor(bundle)
    images = random_images(9)  # some beyond the range that was calibrated, so that they are clipped
    assert score(int8.logits(images), fp32_model.logits(images), np.zeros(9)).snr_db > 10


def test_the_first_form_that_passes_by_a_wide_margin_ends_the_search(bundle: Bundle, colours: PackedSet) -> None:
    said: list[str] = []
    whole = quantize_bundle(bundle, colours, colours, OPEN).report
    report = quantize_bundle(bundle, colours, colours, replace(OPEN, thorough=False), said.append).report
    (tried,) = report["trials"]  # no form loses anything here
    assert report["taken"]["form"] == tried["form"] == whole["trials"][0]["form"]
    assert len(report["not_tried"]) == len(whole["trials"]) - 1 and whole["not_tried"] == []
    assert said[-1] == f"passes by a wide margin; not tried, as --thorough would: {'; '.join(report['not_tried'])}"


def test_a_form_that_fails_on_the_whole_set_does_not_end_the_search(tmp_path: Path, colours: PackedSet) -> None:
    """By the first image alone it passes. The others are tried then, and fail on the whole set as well."""
    spoilt = write_bundle(colour_model(outlier=1e5), tmp_path / "spoilt")
    said: list[str] = []
    settings = replace(OPEN, thorough=False, evaluation_images=1, min_speedup=None, per_channel=(False,))
    with pytest.raises(GateError) as raised:
        quantize_bundle(spoilt, colours, colours, settings, said.append)
    report = raised.value.report
    assert len(report["trials"]) > 1
    assert any(line.endswith(": not taken") for line in said)


def test_a_model_that_is_not_faster_is_refused(bundle: Bundle, colours: PackedSet) -> None:
    with pytest.raises(
        GateError, match=r"not faster than fp32 on this machine: .* \(more than 1e\+09x is needed\)"
    ) as e:
        quantize_bundle(bundle, colours, colours, replace(OPEN, min_speedup=1e9))
    assert len(e.value.report["trials"]) == 3  # one for each scope that has nodes of its own
    assert e.value.exit_code == 8 and "taken" not in e.value.report


def test_a_model_for_another_machine_is_not_timed(bundle: Bundle, colours: PackedSet) -> None:
    settings = replace(OPEN, min_speedup=None, per_channel=(False,), activations="int8")
    report = quantize_bundle(bundle, colours, colours, settings).report
    assert report["taken"]["speed"] == [] and report["taken"]["scope"] == "all"
    assert all("per tensor, symmetric int8" in trial["form"] for trial in report["trials"])


def test_a_model_that_loses_too_much_is_refused(bundle: Bundle, colours: PackedSet) -> None:
    impossible = replace(OPEN, max_top1_drop=-20.0)  # better than fp32 by 20 points
    with pytest.raises(GateError, match=r"the best of \d+ recipes \(.*\) loses .* points of top-1 \(fp32 93.3%, int8"):
        quantize_bundle(bundle, colours, colours, impossible)


def test_sensitive_layers_stay_in_float32(tmp_path: Path, colours: PackedSet) -> None:
    spoilt = write_bundle(colour_model(outlier=1e5), tmp_path / "spoilt")
    said: list[str] = []
    settings = replace(OPEN, min_speedup=None, per_channel=(False,))
    report = quantize_bundle(spoilt, colours, colours, settings, said.append).report
    assert report["taken"]["float_layers"] == ["large/Conv"]
    assert report["trials"][0]["top1"] < report["fp32"]["top1"] == report["taken"]["top1"]
    assert any(line.startswith("most sensitive layers: large/Conv (") for line in said)


def test_the_whole_set_decides(bundle: Bundle, colours: PackedSet) -> None:
    few = replace(OPEN, evaluation_images=5, min_speedup=None)
    report = quantize_bundle(bundle, colours, colours, few).report
    assert {trial["images"] for trial in report["trials"]} == {5}
    assert report["fp32"]["images"] == report["taken"]["images"] == IMAGES


def test_dynamic_quantisation_passes_the_same_gates(bundle: Bundle, colours: PackedSet) -> None:
    report = quantize_bundle(bundle, colours, colours, replace(OPEN, kind="dynamic")).report
    assert [trial["form"] for trial in report["trials"]] == ["dynamic, all, per channel", "dynamic, all, per tensor"]
    assert report["taken"]["float_layers"] == ["stem/Conv", "large/Conv"]
