"""TFLite files of every kind of input answer as the network that they were made from."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from scenerec.cli import app
from scenerec.errors import BundleError
from scenerec.inference.bundles.bundle import GOLDEN_FILE, Bundle, Golden, open_bundle, write_bundle
from scenerec.inference.bundles.info import TFLITE_FILE
from scenerec.inference.predictors.predictor import softmax
from scenerec.inference.predictors.tflite_predictor import TflitePredictor
from scenerec.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from tests.measured import validation
from tests.tiny_bundle import IMAGE_SIZE, LABELS, make_tiny_bundle

import keras  # isort: skip  (after torchvision)
import tensorflow as tf

SIZE = IMAGE_SIZE
WEIGHTS = np.random.default_rng(1).normal(size=(3, 3)).astype(np.float32)
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 1, 1, 3), dtype=np.uint8).repeat(SIZE, 1).repeat(SIZE, 2)


def convert(batch: int | None, integers: type | None = None, weights: np.ndarray = WEIGHTS) -> bytes:
    """logits = mean colour @ weights; with `integers`, input and output are of this type."""
    pixels = keras.Input((SIZE, SIZE, 3), batch_size=batch)
    head = keras.layers.Dense(3, use_bias=False)
    model = keras.Model(pixels, head(keras.layers.GlobalAveragePooling2D()(pixels)))
    head.set_weights([weights])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if integers:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None].astype(np.float32)] for image in IMAGES)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.as_dtype(integers)
    return converter.convert()


def write(folder: Path, content: bytes) -> Path:
    path = folder / "model.tflite"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("batch", [None, 1, 3])
def test_float_inputs_of_a_bare_file_are_normalised(tmp_path: Path, batch: int | None) -> None:
    model = TflitePredictor(write(tmp_path, convert(batch)), threads=1)
    assert (model.image_size, model.labels, model.name) == (SIZE, (), str(tmp_path / "model.tflite"))
    expected = ((IMAGES / 255 - IMAGENET_MEAN) / IMAGENET_STD).mean(axis=(1, 2)) @ WEIGHTS
    for count in (5, 1, 5):
        np.testing.assert_allclose(model.logits(IMAGES[:count]), expected[:count], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("integers", [np.uint8, np.int8])
def test_integers_are_scaled_by_their_parameters(tmp_path: Path, integers: type) -> None:
    model = TflitePredictor(write(tmp_path, convert(1, integers)))
    logits = model.logits(IMAGES)
    expected = IMAGES.mean(axis=(1, 2)) @ WEIGHTS
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, atol=0.03 * np.abs(expected).max())


def test_a_bundles_float_input_takes_pixel_values(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, convert(None), WEIGHTS)
    model = TflitePredictor(bundle)
    assert model.labels == LABELS and model.eval_crop_ratio == bundle.info.preprocessing.eval_crop_ratio
    np.testing.assert_allclose(model.logits(IMAGES), IMAGES.mean(axis=(1, 2)) @ WEIGHTS, rtol=1e-4, atol=1e-3)
    warm = replace(bundle, info=bundle.info.model_copy(update={"validation": validation(100.0, abstain_below=0.7)}))
    model = TflitePredictor(warm)
    np.testing.assert_allclose(model.probabilities(IMAGES), softmax(model.logits(IMAGES), 100.0), atol=1e-6)
    assert model.abstain_below == 0.7


@pytest.mark.parametrize("integers", [None, np.uint8])
def test_a_bundle_names_photographs_and_passes_its_checks(tmp_path: Path, integers: type | None) -> None:
    """By the commands that take bundles, as exported: one image at a time."""
    logits_are_the_mean_colour = np.eye(3, dtype=np.float32)
    make_bundle(tmp_path, convert(1, integers, logits_are_the_mean_colour), logits_are_the_mean_colour)
    Image.new("RGB", (40, 30), "blue").save(tmp_path / "b.png")
    Image.new("RGB", (30, 40), (0, 255, 0)).save(tmp_path / "g.jpg", quality=95)
    photographs = [str(tmp_path / name) for name in ("b.png", "g.jpg")]
    named = CliRunner().invoke(app, ["predict", *photographs, "-m", str(tmp_path / "tflite"), "--json"])
    assert named.exit_code == 0, named.output
    first = [json.loads(line)["predictions"][0] for line in named.output.splitlines()]
    assert [each["label"] for each in first] == ["blue", "green"]
    assert all(each["probability"] == pytest.approx(1.0) for each in first)
    verified = CliRunner().invoke(app, ["verify", str(tmp_path / "tflite"), "--golden"])
    assert verified.exit_code == 0, verified.output
    explained = ["predict", *photographs, "-m", str(tmp_path / "tflite"), "--explain", str(tmp_path / "maps")]
    refused = CliRunner().invoke(app, explained)
    assert "it is a TFLite model: take a bundle of format onnx" in refused.output
    assert len(refused.output.splitlines()) == 1
    for model, blue in (("tflite", "blue"), ("tflite/model.tflite", "class 2")):
        watched = ["watch", str(tmp_path / model), "--frames", photographs[0], "--dwell", "0"]
        assert f"  {blue} " in CliRunner().invoke(app, watched).stdout.splitlines()[0]


def make_bundle(folder: Path, content: bytes, weights: np.ndarray) -> Bundle:
    info = make_tiny_bundle(folder / "onnx", precision="int8").info.model_copy(update={"format": "tflite"})
    golden = Golden(IMAGES, (IMAGES.mean(axis=(1, 2)) @ weights).astype(np.float32))
    write_bundle(str(folder / "tflite"), info, {TFLITE_FILE: content, GOLDEN_FILE: golden.to_bytes()})
    return open_bundle(str(folder / "tflite"))


def test_what_does_not_load_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"model\.tflite: LiteRT does not load it: [^\n]+$"):
        TflitePredictor(write(tmp_path, b"TFL3 and then nothing"))


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    vector = keras.Input((7,), batch_size=1)
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(vector, keras.layers.Dense(2)(vector)))
    with pytest.raises(BundleError, match=r"takes float32 \[1, 7\] and gives float32 \[1, 2\]"):
        TflitePredictor(write(tmp_path, converter.convert()))
