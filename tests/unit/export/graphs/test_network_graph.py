"""Graphs by hand: completed, checked, fixed and saved."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from scenerec.errors import ModelError
from scenerec.export.graphs import network_graph, optimize
from scenerec.inference.bundles.info import Preprocessing
from scenerec.inference.predictors.onnx_predictor import open_session
from scenerec.inference.predictors.predictor import softmax
from tests.tiny_network import SIZE, expected_logits, random_images, tiny_graph, tiny_network

PREPARED = Preprocessing(image_size=SIZE, eval_crop_ratio=0.875)


def test_a_completed_graph_normalises_and_gives_probabilities() -> None:
    model = network_graph.complete(tiny_network(), PREPARED)
    onnx.checker.check_model(model, full_check=True)
    images = random_images(5)
    probabilities, logits = open_session(model.SerializeToString()).run(None, {"images": images})
    np.testing.assert_allclose(logits, expected_logits(images), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(probabilities, softmax(logits, 1.0), atol=1e-6)
    inputs, outputs = network_graph.contracts(model)
    assert [(value.name, value.dtype, value.shape) for value in (*inputs, *outputs)] == [
        ("images", "uint8", ("batch", SIZE, SIZE, 3)),
        ("probabilities", "float32", ("batch", 3)),
        ("logits", "float32", ("batch", 3)),
    ]


@pytest.mark.parametrize("made", [network_graph.copy_of, optimize.half, optimize.offline])
def test_a_temperature_changes_the_probabilities_alone(made: Callable[[ModelProto], ModelProto]) -> None:
    model, images = made(network_graph.complete(tiny_network(), PREPARED)), random_images(5)
    before = model.SerializeToString()
    scaled = network_graph.with_temperature(model, 0.02)
    assert model.SerializeToString() == before
    onnx.checker.check_model(scaled)
    (logits,) = open_session(before).run(["logits"], {"images": images})
    probabilities, same = open_session(scaled.SerializeToString()).run(None, {"images": images})
    np.testing.assert_array_equal(same, logits)
    np.testing.assert_allclose(probabilities, softmax(logits, 0.02), atol=1e-5)
    assert np.abs(probabilities - softmax(logits, 1.0)).max() > 0.05


def test_other_mean_and_deviation_are_heeded() -> None:
    raw = PREPARED.model_copy(update={"mean": (0.0, 0.0, 0.0), "std": (1 / 255, 1 / 255, 1 / 255)})
    images = random_images(2)
    session = open_session(network_graph.complete(tiny_network(), raw).SerializeToString())
    (logits,) = session.run(["logits"], {"images": images})
    np.testing.assert_allclose(logits, images.mean(axis=(1, 2)), rtol=1e-4)


def test_a_plain_input_stays_as_it_was() -> None:
    model = network_graph.complete(tiny_network(), PREPARED.model_copy(update={"in_graph": False}))
    assert model.graph.input[0] == tiny_network().graph.input[0]
    assert [node.name for node in model.graph.node if node.name.startswith(network_graph.OWN_PREFIX)] == [
        "scenerec.probabilities"
    ]


def test_completing_leaves_the_network_alone_and_marks_its_own_nodes() -> None:
    network = tiny_network()
    before = network.SerializeToString()
    added = [node.name for node in network_graph.complete(network, PREPARED).graph.node][:4]
    assert network.SerializeToString() == before
    assert added == ["scenerec.floats", "scenerec.planes", "scenerec.centered", "scenerec.pixels"]


def _renamed(model: ModelProto) -> None:
    model.graph.input[0].name = "x"


def _closed(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2


def _doubled(model: ModelProto) -> None:
    model.graph.output.append(model.graph.output[0])


def _halved(model: ModelProto) -> None:
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16


@pytest.mark.parametrize(
    ("change", "described"),
    [
        (_renamed, "inputs x float32"),
        (_closed, r"inputs pixels float32 \[2, 3, 8, 8\]"),
        (_doubled, r"outputs logits float32 \[batch, 3\], logits"),
        (_halved, "outputs logits float16"),
    ],
)
def test_what_is_no_network_graph_is_refused(change, described: str) -> None:  # type: ignore[no-untyped-def]
    model = tiny_network()
    network_graph.check_network(model)
    change(model)
    with pytest.raises(ModelError, match=described):
        network_graph.complete(model, PREPARED)


def test_a_fixed_batch_refuses_others() -> None:
    model = tiny_graph()
    session = open_session(network_graph.fix_batch(model, 2).SerializeToString())
    assert session.run(["logits"], {"images": random_images(2)})[0].shape == (2, 3)
    assert session.get_inputs()[0].shape == [2, SIZE, SIZE, 3]
    assert network_graph.contracts(model)[0][0].shape[0] == "batch", "the original stays open"


def test_weights_beyond_protobufs_limit_go_beside_the_model(tmp_path: Path) -> None:
    images = random_images(3)
    for folder, largest_bytes, files in (
        ("one", network_graph.PROTOBUF_BYTES, ["model.onnx"]),
        ("two", 5000, ["model.onnx", "model.onnx.data"]),
    ):
        (tmp_path / folder).mkdir()
        saved = network_graph.save(_with_weights(), tmp_path / folder, largest_bytes)
        assert [path.name for path in saved] == files
        assert sorted(path.name for path in (tmp_path / folder).iterdir()) == files
        (logits,) = open_session(tmp_path / folder / "model.onnx").run(["logits"], {"images": images})
        np.testing.assert_allclose(logits, 2 * expected_logits(images), rtol=1e-4, atol=1e-4)
    assert (tmp_path / "two" / "model.onnx").stat().st_size < 5000


def test_the_same_model_is_saved_as_the_same_bytes(tmp_path: Path) -> None:
    contents = [network_graph.save(_with_weights(), tmp_path)[0].read_bytes() for _ in range(2)]
    assert contents[0] == contents[1]


def test_a_nodes_module_is_in_its_name() -> None:
    assert network_graph.module_of(helper.make_node("Conv", [], [], name="layer1.0.conv1/Conv_2")) == "layer1.0.conv1"
    assert network_graph.module_of(helper.make_node("Add", [], [], name="Add")) == ""


def _with_weights() -> ModelProto:
    """The logits doubled by a matrix that is padded with rows which do nothing."""
    model = tiny_graph()
    body = model.graph
    matrix = np.zeros((3, 3000), np.float32)
    matrix[:, :3] = 2 * np.eye(3)
    body.initializer.append(numpy_helper.from_array(matrix, "matrix"))
    slicing = {"starts": [0], "ends": [3], "axes": [1]}
    for name, values in slicing.items():
        body.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
    next(node for node in body.node if node.output[0] == "logits").output[0] = "unscaled"
    body.node.insert(len(body.node) - 1, helper.make_node("MatMul", ["unscaled", "matrix"], ["wide"]))
    body.node.insert(len(body.node) - 1, helper.make_node("Slice", ["wide", "starts", "ends", "axes"], ["logits"]))
    return model
