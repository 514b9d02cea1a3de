"""Recipes and what they make of a graph; ranges; what a layer loses."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, helper, numpy_helper

from scenerec.export.graphs.network_graph import OWN_PREFIX
from scenerec.export.quantization.accuracy_gate import SAME_DB, snr_db
from scenerec.export.quantization.calibration import Calibration
from scenerec.export.quantization.quantize import (
    OPERATORS,
    Recipe,
    Scope,
    chosen,
    layers,
    prepare,
    quantize,
)
from scenerec.export.quantization.sensitivity import measure
from tests.unit.export.colour_network import colour_model, random_images

IMAGES = random_images(24)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return Calibration(prepare(colour_model()), {"images": IMAGES}, OPERATORS)


def answer(model: ModelProto, output: str = "logits") -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run([output], {"images": IMAGES})[0]


def operators(model: ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_preparing_changes_names_and_operators_but_no_answer() -> None:
    model = colour_model()
    before = model.SerializeToString()
    prepared = prepare(model)
    assert model.SerializeToString() == before
    assert all(node.name for node in prepared.graph.node)
    assert "GlobalAveragePool" in operators(prepared) and "ReduceMean" not in operators(prepared)
    assert {tensor.name for tensor in prepared.graph.initializer}.isdisjoint({"axes", "unused"})
    np.testing.assert_allclose(answer(prepared), answer(model), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("axes", "keepdims"), [([1, 2], 1), ([2, 3], 0)])
def test_other_means_stay_means(axes: list[int], keepdims: int) -> None:
    model = colour_model()
    (mean,) = (node for node in model.graph.node if node.op_type == "ReduceMean")
    mean.attribute.append(helper.make_attribute("keepdims", keepdims))
    for tensor in model.graph.initializer:
        if tensor.name == "axes":
            tensor.CopyFrom(numpy_helper.from_array(np.array(axes), "axes"))
    assert "ReduceMean" in operators(prepare(model))


@pytest.mark.parametrize(
    ("scope", "quantised"),
    [
        ("all", {"stem/Conv", "large/Conv", "pool/ReduceMean", "pool/Flatten", "head/Gemm"}),
        ("all-but-stem", {"large/Conv", "pool/ReduceMean", "pool/Flatten", "head/Gemm"}),
        ("layers-10k", {"large/Conv"}),
        ("layers-50k", set()),
    ],
)
def test_a_scope_names_its_nodes(calibration: Calibration, scope: Scope, quantised: set[str]) -> None:
    found = [name for name in chosen(calibration.model, Recipe(scope=scope)) if not name.startswith("unnamed.")]
    assert set(found) == quantised
    assert layers(calibration.model) == {"stem/Conv": 384, "large/Conv": 16384, "head/Gemm": 384}


def test_an_int8_graph_answers_nearly_the_same(calibration: Calibration) -> None:
    model = quantize(calibration, Recipe())
    assert 25 < snr_db(answer(calibration.model), answer(model)) < SAME_DB
    quantised = {name for node in model.graph.node if node.op_type == "QuantizeLinear" for name in node.input}
    own = {name for node in model.graph.node if node.name.startswith(OWN_PREFIX) for name in node.output}
    assert quantised & own == {"pixels"}  # where the network begins
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert weights["large.weight_quantized"].dtype == np.int8
    assert weights["large.weight_scale"].shape == (128,)


def test_a_recipe_is_heeded(calibration: Calibration) -> None:
    def constants(recipe: Recipe) -> dict[str, np.ndarray]:
        model = quantize(calibration, recipe)
        return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}

    assert constants(Recipe(per_channel=False))["large.weight_scale"].shape == ()
    assert constants(Recipe())["d_zero_point"] < 50  # a hard-swish is hardly ever negative
    assert constants(Recipe(symmetric=True))["d_zero_point"] in (127, 128)
    signed = constants(Recipe(activations="int8"))["d_zero_point"]
    assert signed.dtype == np.int8 and signed == 0
    assert constants(Recipe(method="99.9"))["d_scale"] < constants(Recipe())["d_scale"]
    kept = constants(replace(Recipe(), float_layers=("large/Conv",)))
    assert "large.weight" in kept and "large.weight_quantized" not in kept and "stem.weight_quantized" in kept


def test_a_recipe_that_quantises_nothing_leaves_the_graph(calibration: Calibration) -> None:
    assert quantize(calibration, Recipe(scope="layers-50k")) == calibration.model


def test_dynamic_quantisation_is_for_dense_layers(calibration: Calibration) -> None:
    recipe = Recipe(kind="dynamic")
    assert chosen(calibration.model, recipe) == ["head/Gemm"]
    model = quantize(calibration, recipe)
    assert "MatMulInteger" in operators(model) and "ConvInteger" not in operators(model)
    assert 25 < snr_db(answer(calibration.model), answer(model)) < SAME_DB


def test_ranges_are_those_of_the_activations(calibration: Calibration) -> None:
    exposed = ModelProto()
    exposed.CopyFrom(calibration.model)
    exposed.graph.output.append(helper.make_empty_tensor_value_info("c"))
    values = answer(exposed, "c")
    low, high = calibration.ranges("minmax")["c"].range_value
    assert (low, high) == pytest.approx((values.min(), values.max()))
    low, high = calibration.ranges("99.9")["c"].range_value
    expected = np.quantile(values, [0.0005, 0.9995])
    np.testing.assert_allclose([low, high], expected, atol=0.01 * (values.max() - values.min()))


def test_the_layer_that_loses_most_comes_first() -> None:
    spoilt = Calibration(prepare(colour_model(outlier=1000.0)), {"images": IMAGES}, OPERATORS)
    reference = answer(spoilt.model)
    per_tensor = measure(spoilt, Recipe(per_channel=False), answer, reference)
    assert {entry.layer for entry in per_tensor} == {"stem/Conv", "large/Conv", "head/Gemm"}
    assert per_tensor[0].layer == "large/Conv" and per_tensor[0].snr_db < 15 < 25 < per_tensor[1].snr_db
    per_channel = {entry.layer: entry.snr_db for entry in measure(spoilt, Recipe(), answer, reference)}
    assert per_channel["large/Conv"] > 20
    kept = measure(spoilt, replace(Recipe(), per_channel=False, float_layers=("large/Conv",)), answer, reference)
    assert {entry.layer for entry in kept} == {"stem/Conv", "head/Gemm"}


@given(st.floats(-60, 60), st.integers(0, 1000))
def test_a_signal_to_noise_ratio_is_in_decibels(decibels: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference, noise = rng.normal(size=(2, 5, 7))
    noise *= np.sqrt(np.square(reference).sum() / np.square(noise).sum()) * 10 ** (-decibels / 20)
    assert snr_db(reference, reference + noise) == pytest.approx(decibels, abs=1e-6)
    assert snr_db(reference, reference) == SAME_DB
