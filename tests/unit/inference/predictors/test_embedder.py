"""What the classifying layer is given comes out of a bundle's own graph, beside unchanged logits."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from scenerec.errors import BundleError
from scenerec.inference.bundles.bundle import GOLDEN_FILE, Bundle, open_bundle, write_bundle
from scenerec.inference.bundles.info import ONNX_FILE
from scenerec.inference.predictors.embedder import Embedder
from scenerec.inference.predictors.onnx_predictor import OnnxPredictor
from tests.tiny_bundle import IMAGE_SIZE, make_tiny_bundle

WEIGHTS = np.diag(np.float32([0.05, 0.05, 0.05]))


def with_head(folder: Path, element_type: int = TensorProto.FLOAT, batch: int | str = "batch") -> Bundle:
    """A tiny bundle whose logits are a product of the mean colours, in this type, and weights."""
    tiny = make_tiny_bundle(folder / "tiny")
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0),
        helper.make_node("Cast", ["means"], ["features"], to=element_type),
        helper.make_node("Gemm", ["features", "weights"], ["product"]),
        helper.make_node("Cast", ["product"], ["logits"], to=TensorProto.FLOAT),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    dtype = helper.tensor_dtype_to_np_dtype(element_type)
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
        numpy_helper.from_array(WEIGHTS.astype(dtype), "weights"),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, [batch, IMAGE_SIZE, IMAGE_SIZE, 3])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 3]) for name in ("probabilities", "logits")
    ]
    graph = helper.make_graph(nodes, "headed", [images], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    files = {ONNX_FILE: model.SerializeToString(), GOLDEN_FILE: (tiny.folder / GOLDEN_FILE).read_bytes()}
    write_bundle(str(folder / "headed"), tiny.info, files)
    return open_bundle(str(folder / "headed"))


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize(("element_type", "batch"), [(TensorProto.FLOAT, "batch"), (TensorProto.FLOAT16, 2)])
def test_the_embeddings_are_what_the_head_is_given(
    tmp_path: Path, images: np.ndarray, element_type: int, batch: int | str
) -> None:
    bundle = with_head(tmp_path, element_type, batch)
    logits, embeddings = Embedder(bundle, threads=1).logits_and_embeddings(images)
    assert np.array_equal(logits, OnnxPredictor(bundle, threads=1).logits(images))
    assert (embeddings.dtype, embeddings.shape) == (np.float32, (5, 3))
    tolerance = 1e-6 if element_type == TensorProto.FLOAT else 1e-3
    np.testing.assert_allclose(embeddings, images.mean(axis=(1, 2)), rtol=tolerance)


def test_a_graph_without_such_a_layer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="gives no embeddings: no last layer of it classifies one vector an image"):
        Embedder(make_tiny_bundle(tmp_path / "tiny"))
    with pytest.raises(BundleError, match="gives no embeddings"):  # the product there is of coordinates
        Embedder(make_tiny_bundle(tmp_path / "placed", coordinates=True))
