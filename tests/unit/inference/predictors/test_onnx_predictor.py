"""Bundles' ONNX models in onnxruntime: small graphs whose answers are known."""

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto

from scenerec.errors import BundleError
from scenerec.export.graphs import network_graph
from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.predictors.onnx_predictor import OnnxPredictor, open_session
from scenerec.inference.predictors.predictor import softmax
from tests.tiny_network import expected_logits, info_of, random_images, tiny_graph


@pytest.mark.parametrize("batch", [None, 1, 4])
@pytest.mark.parametrize("in_graph", [True, False])
def test_any_number_of_images_is_answered(tmp_path: Path, batch: int | None, in_graph: bool) -> None:
    model = tiny_graph(in_graph=in_graph)
    predictor = OnnxPredictor(saved(tmp_path, network_graph.fix_batch(model, batch) if batch else model, in_graph))
    for count in (1, 3, 9):
        images = random_images(count)
        logits = predictor.logits(images)
        assert logits.shape == (count, 3)
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, expected_logits(images), rtol=1e-4, atol=1e-5)
    images = random_images(batch or 3)
    (probabilities,) = predictor.session.run(["probabilities"], predictor.feeds(images))
    np.testing.assert_allclose(probabilities, softmax(predictor.logits(images), 1.0), atol=1e-6)


def test_it_knows_what_its_bundle_says(tmp_path: Path) -> None:
    predictor = OnnxPredictor(saved(tmp_path, tiny_graph(), in_graph=True))
    assert predictor.labels == ("red", "green", "blue")
    assert (predictor.image_size, predictor.eval_crop_ratio) == (8, 0.875)


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x0a" * 100])
def test_what_is_no_model_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    for model in (path, content or b"x"):
        with pytest.raises(BundleError, match="onnxruntime does not load it") as raised:
            open_session(model)
        assert "\n" not in str(raised.value)


def saved(folder: Path, model: ModelProto, in_graph: bool) -> Bundle:
    network_graph.save(model, folder)
    return Bundle(folder, info_of(model, in_graph), str(folder))
