"""Whoever asks a bundle prepares photographs as it says: by its filter, its crop, its mean and deviation."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scenerec.export.graphs import network_graph
from scenerec.inference.bulk.predictor import BulkPredictor
from scenerec.inference.bulk.request import Question
from scenerec.inference.bundles.bundle import Bundle, open_bundle
from scenerec.inference.bundles.info import Preprocessing
from scenerec.inference.evaluation.images import Preparation
from scenerec.inference.predictors.classifier import Classifier
from scenerec.inference.predictors.onnx_predictor import OnnxPredictor
from scenerec.inference.predictors.photograph import Preparer
from scenerec.models.preprocessing import WeightPreprocessing
from tests.tiny_bundle import IMAGE_SIZE, make_tiny_bundle
from tests.tiny_network import info_of, random_images, tiny_network

OTHER = Preprocessing(
    image_size=IMAGE_SIZE,
    mean=(0.5, 0.4, 0.3),
    std=(0.5, 0.25, 0.2),
    interpolation="bicubic",
    eval_crop_ratio=0.8,
)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    make_tiny_bundle(tmp_path / "bundle", preprocessing=OTHER)
    return open_bundle(f"{tmp_path}/bundle")


def photograph() -> tuple[bytes, np.ndarray]:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue(), pixels


def test_every_door_prepares_a_photograph_as_the_bundle_says(bundle: Bundle) -> None:
    content, pixels = photograph()
    short, cut = round(IMAGE_SIZE / 0.8), IMAGE_SIZE
    whole = Image.fromarray(pixels).resize((short, round(short * 90 / 70)), Image.Resampling.BICUBIC)
    left, top = (whole.width - cut) // 2, (whole.height - cut) // 2
    expected = np.asarray(whole)[top : top + cut, left : left + cut].astype(int)
    question = Question(sources=("/images",), model_sha256="0" * 64, form="csv")
    doors = {
        "predict, serve": Classifier(bundle).prepare,
        "bulk": BulkPredictor(bundle, question, threads=1).prepare,
        "watch, check": Preparer.of(OnnxPredictor(bundle)),
    }
    for name, prepare in doors.items():
        assert np.abs(prepare(content) - expected).max() <= 1, name
        assert np.array_equal(prepare.pixels(pixels), prepare(content))
    assert Preparation.of(OnnxPredictor(bundle)) == Preparation(cut, 0.8, 1, "bicubic") == Preparation.of(OTHER)


@pytest.mark.parametrize("in_graph", [True, False])
def test_the_graph_or_its_caller_normalises_as_the_bundle_says(tmp_path: Path, in_graph: bool) -> None:
    prepared = OTHER.changed(in_graph=in_graph)
    model = network_graph.complete(tiny_network(), prepared)
    network_graph.save(model, tmp_path)
    info = info_of(model, in_graph).model_copy(update={"preprocessing": prepared})
    images = random_images(3)
    means = images.reshape(3, -1, 3).mean(axis=1) / 255
    found = OnnxPredictor(Bundle(tmp_path, info, "")).logits(images)
    np.testing.assert_allclose(found, (means - OTHER.mean) / OTHER.std, rtol=1e-4, atol=1e-5)


def test_an_older_bundle_is_bilinear(bundle: Bundle) -> None:
    older = bundle.info.preprocessing.model_dump(exclude={"interpolation", "mean", "std"})
    assert Preprocessing(**older) == Preprocessing.of_weights(WeightPreprocessing(eval_crop_ratio=0.8), IMAGE_SIZE)
