"""TFLite files of every kind of input answer as the network that they were made from."""

from pathlib import Path

import numpy as np
import pytest

from scenerec.errors import BundleError
from scenerec.inference.bundles.bundle import GOLDEN_FILE, Golden, open_bundle, write_bundle
from scenerec.inference.bundles.info import TFLITE_FILE
from scenerec.inference.predictors.tflite_predictor import TflitePredictor
from scenerec.models.zoo import IMAGENET_MEAN, IMAGENET_STD
from tests.tiny_bundle import IMAGE_SIZE, LABELS, make_tiny_bundle

import keras  # isort: skip  (after torchvision)
import tensorflow as tf

SIZE = IMAGE_SIZE
WEIGHTS = np.random.default_rng(1).normal(size=(3, 3)).astype(np.float32)
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 1, 1, 3), dtype=np.uint8).repeat(SIZE, 1).repeat(SIZE, 2)


def convert(batch: int | None, integers: type | None = None) -> bytes:
    """logits = mean colour @ WEIGHTS; with `integers`, input and output are of this type."""
    pixels = keras.Input((SIZE, SIZE, 3), batch_size=batch)
    head = keras.layers.Dense(3, use_bias=False)
    model = keras.Model(pixels, head(keras.layers.GlobalAveragePooling2D()(pixels)))
    head.set_weights([WEIGHTS])
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
    tiny = make_tiny_bundle(tmp_path / "onnx")
    info = tiny.info.model_copy(update={"format": "tflite"})
    files = {TFLITE_FILE: convert(None), GOLDEN_FILE: Golden(IMAGES, IMAGES.mean(axis=(1, 2))).to_bytes()}
    write_bundle(str(tmp_path / "tflite"), info, files)
    model = TflitePredictor(open_bundle(str(tmp_path / "tflite")))
    assert model.labels == LABELS and model.eval_crop_ratio == info.preprocessing.eval_crop_ratio
    np.testing.assert_allclose(model.logits(IMAGES), IMAGES.mean(axis=(1, 2)) @ WEIGHTS, rtol=1e-4, atol=1e-3)


def test_what_does_not_load_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"model\.tflite: LiteRT does not load it: [^\n]+$"):
        TflitePredictor(write(tmp_path, b"TFL3 and then nothing"))


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    vector = keras.Input((7,), batch_size=1)
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(vector, keras.layers.Dense(2)(vector)))
    with pytest.raises(BundleError, match=r"takes float32 \[1, 7\] and gives float32 \[1, 2\]"):
        TflitePredictor(write(tmp_path, converter.convert()))
