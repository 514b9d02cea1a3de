"""Graphs that read coordinates: by both routes, with and without them, in float32, float16 and int8."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto
from torch import nn

from scenerec.data.packed_set import open_set
from scenerec.errors import ConfigError
from scenerec.export.conversion import torch_onnx
from scenerec.export.formats import tflite
from scenerec.export.graphs import network_graph, optimize
from scenerec.export.graphs.network_graph import is_kept_float, module_of, with_unknown_places
from scenerec.export.job import ExportJob
from scenerec.export.options import Options
from scenerec.export.quantization.calibration import Calibration
from scenerec.export.quantization.int8_search import Settings, quantize_bundle
from scenerec.export.quantization.quantize import OPERATORS, Recipe, chosen, prepare, quantize
from scenerec.export.source import Source
from scenerec.export.verification import compare, drawn_places, golden_of
from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.bundles.info import BundleInfo, Lineage, Preprocessing
from scenerec.inference.evaluation.images import Preparation, image_batches
from scenerec.inference.explain.cam import ActivationMapper
from scenerec.inference.predictors.golden import check_golden
from scenerec.inference.predictors.onnx_predictor import OnnxPredictor, open_session
from scenerec.inference.predictors.predictor import NetworkInfo, logits_difference
from scenerec.inference.predictors.torch_predictor import TorchPredictor
from scenerec.inference.predictors.trained_model import ZooNetwork
from scenerec.models import torch_model
from scenerec.models.geo import GeoSpec
from scenerec.models.keras_twin import builder  # before tensorflow
from scenerec.models.tf_model import load_state
from tests.matrix import keep
from tests.tiny_geo import CLASSES, SIZE, draw_places, tiny_geo_network

PREPARED = Preprocessing(image_size=SIZE, eval_crop_ratio=0.875)
LABELS = tuple("abcde")
IMAGES = np.random.default_rng(1).integers(0, 256, (12, SIZE, SIZE, 3), np.uint8)
PLACES = draw_places(np.random.default_rng(2), len(IMAGES))
NOWHERE = np.full_like(PLACES, np.nan)


def spec(fusion: Any) -> GeoSpec:
    return GeoSpec(encoding="multiscale", scales=12, time=True, fusion=fusion, width=16, blocks=1)


def reference_of(network: nn.Module) -> TorchPredictor:
    return TorchPredictor(network, NetworkInfo("torch", LABELS, PREPARED), takes_coordinates=True)


def by_torch(network: nn.Module) -> ModelProto:
    return torch_onnx.convert(network, SIZE, takes_coordinates=True)


def by_tf2onnx(network: nn.Module, folder: Path) -> ModelProto:
    """As tf_onnx_worker does, in this process."""
    from scenerec.export.conversion import tf_hollow

    twin = builder.twin(network, SIZE, name="twin")
    load_state(twin, torch_model.state(network))
    layers = frozenset(layer.name for layer in twin.layers)
    tf_hollow.convert(lambda *inputs: twin([*inputs], training=False), SIZE, layers, 18, folder / "n.onnx", True)
    return onnx.load(folder / "n.onnx")


def bundle_of(model: ModelProto, folder: Path) -> Bundle:
    inputs, outputs = network_graph.contracts(model)
    lineage = Lineage(framework=None, arch=None, source="here", route="torch", scenerec="1", exported_at="now")
    info = BundleInfo(
        name="geo", labels=LABELS, preprocessing=PREPARED, inputs=inputs, outputs=outputs, lineage=lineage
    )
    network_graph.save(model, folder)
    return Bundle(folder, info, str(folder))


def differences(model: ModelProto, network: nn.Module, folder: Path) -> float:
    """The largest, with coordinates and without; images alone must be what images without coordinates are."""
    predictor, reference = OnnxPredictor(bundle_of(model, folder)), reference_of(network)
    assert predictor.takes_coordinates
    session = open_session(folder / "model.onnx")
    (alone,) = session.run(["logits"], {"images": IMAGES})
    np.testing.assert_allclose(alone, predictor.logits(IMAGES), atol=1e-5)
    one = predictor.feeds(IMAGES[:1], PLACES[:1])
    (at_one_place,) = session.run(["logits"], {**one, "images": IMAGES})
    np.testing.assert_allclose(at_one_place, predictor.logits(IMAGES, PLACES[:1].repeat(len(IMAGES), 0)), atol=1e-5)
    np.testing.assert_allclose(predictor.logits(IMAGES), predictor.logits(IMAGES, NOWHERE), atol=0)
    with_places = reference.logits(IMAGES, PLACES)
    assert logits_difference(with_places[:-1], reference.logits(IMAGES)[:-1]) > 0.1
    return max(
        logits_difference(with_places, predictor.logits(IMAGES, PLACES)),
        logits_difference(reference.logits(IMAGES), predictor.logits(IMAGES)),
    )


Exported = tuple[nn.Module, ModelProto]


@cache
def exported(fusion: Any) -> Exported:
    """A network, and its graph by torch's exporter, which takes photographs."""
    network = tiny_geo_network(spec(fusion))
    graph = by_torch(network)
    network_graph.check_network(graph)
    return network, network_graph.complete(optimize.clean(graph), PREPARED)


@pytest.mark.slow
@pytest.mark.parametrize("fusion", keep({"concat"}, ["logits", "concat", "modulate"]))
def test_a_graph_answers_as_the_network_with_coordinates_and_without(fusion: str, tmp_path: Path) -> None:
    network, model = exported(fusion)
    assert [each.name for each in model.graph.input] == ["images", "coordinates", "known"]
    finished = with_unknown_places(model)
    onnx.checker.check_model(finished, full_check=True)
    assert differences(finished, network, tmp_path) < 1e-5
    assert differences(with_unknown_places(optimize.offline(model)), network, tmp_path) < 1e-5
    # float16 has a resolution of an eighth of a degree at the date line, beyond the shortest wavelengths
    assert differences(with_unknown_places(optimize.half(model)), network, tmp_path) < 5e-3


@pytest.mark.parametrize("fusion", keep({"concat"}, ["logits", "concat", "modulate"]))
def test_tf2onnx_gives_the_same(fusion: Any, tmp_path: Path) -> None:
    network = tiny_geo_network(spec(fusion))
    graph = by_tf2onnx(network, tmp_path)
    network_graph.check_network(graph)
    model = with_unknown_places(network_graph.complete(optimize.clean(graph), PREPARED))
    assert "geo.encoding" in {module_of(node) for node in model.graph.node}
    assert differences(model, network, tmp_path) < 1e-5


@pytest.mark.slow
def test_it_is_verified_with_places_and_the_golden_images_have_some(tmp_path: Path) -> None:
    network, graph = exported("concat")
    model = with_unknown_places(graph)
    predictor, reference = OnnxPredictor(bundle_of(model, tmp_path)), reference_of(network)
    assert compare(reference, predictor, IMAGES).max_difference < 1e-5
    with torch.no_grad():
        network.geo.output.weight.mul_(1.1)  # the image network is as it was
        assert compare(reference, predictor, IMAGES).max_difference > 1e-3
        network.geo.output.weight.div_(1.1)
    golden = golden_of(predictor, IMAGES)
    assert golden.coordinates is not None
    assert np.isnan(golden.coordinates).all(axis=1).tolist() == [False, True] * 4
    np.testing.assert_array_equal(golden.coordinates[::2], drawn_places(8)[::2])
    (tmp_path / "golden.safetensors").write_bytes(golden.to_bytes())
    assert check_golden(predictor, bundle_of(model, tmp_path)) < 1e-6


def test_heat_maps_are_of_the_image_alone(tmp_path: Path) -> None:
    _, graph = exported("concat")
    evidence = ActivationMapper(bundle_of(with_unknown_places(graph), tmp_path)).evidence(IMAGES[0])
    assert evidence.shape == (15, 15, CLASSES)


def test_a_fixed_batch_takes_any_number(tmp_path: Path) -> None:
    network, graph = exported("concat")
    predictor = OnnxPredictor(bundle_of(with_unknown_places(network_graph.fix_batch(graph, 1)), tmp_path))
    expected = reference_of(network).logits(IMAGES, PLACES)
    np.testing.assert_allclose(predictor.logits(IMAGES, PLACES), expected, atol=1e-4)


def test_degrees_are_not_quantised(tmp_path: Path) -> None:
    network, graph = exported("concat")
    graph = prepare(graph)
    predictor = OnnxPredictor(bundle_of(graph, tmp_path))
    calibration = Calibration(graph, predictor.feeds(IMAGES, PLACES), OPERATORS)
    names = set(chosen(graph, Recipe()))
    kept = {node.name for node in graph.graph.node if is_kept_float(node)}
    assert "geo.encoding" in {module_of(node) for node in graph.graph.node if node.name in kept}
    assert not names & kept
    assert any(name.startswith("geo.input") for name in names)
    int8 = with_unknown_places(quantize(calibration, Recipe()))
    assert 1e-4 < differences(int8, network, tmp_path) < 0.1


def test_int8_is_searched_with_the_sets_coordinates(tmp_path: Path, located_scenes: Path) -> None:
    network, graph = exported("concat")
    bundle = bundle_of(graph, tmp_path)
    train, val = (open_set(f"{located_scenes}/{split}") for split in ("train", "val"))
    settings = Settings(kind="dynamic", calibration_images=2, min_speedup=None, max_top1_drop=100, threads=1)
    found = quantize_bundle(bundle, train, val, settings)
    (batch,) = image_batches(val, range(36), Preparation(SIZE, PREPARED.eval_crop_ratio), 36)
    assert batch.coordinates is not None and not np.isnan(batch.coordinates).any()
    expected = reference_of(network).logits(batch.images, batch.coordinates)
    right = (expected.argmax(1) == batch.labels).mean()
    assert right != (reference_of(network).logits(batch.images).argmax(1) == batch.labels).mean()
    assert found.report["fp32"]["top1"] == pytest.approx(right)
    assert found.report["taken"]["snr_db"] > 10


def test_tflite_is_refused(tmp_path: Path) -> None:
    network = ZooNetwork("squeezenet1_1", CLASSES, {}, spec("logits"))
    source = Source("geo", "runs/geo", network, "torch", LABELS, PREPARED)
    with pytest.raises(ConfigError, match=r"runs/geo: reads coordinates, and a TFLite model takes images alone"):
        tflite.make(ExportJob(source, str(tmp_path), Options("tflite-fp16"), tmp_path, lambda _: None))
