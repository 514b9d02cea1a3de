"""What TensorFlow's converter makes of a Keras model, in each form. The process around it: tests/integration."""

from pathlib import Path

import numpy as np
import pytest

from scenerec.errors import ModelError
from scenerec.export.conversion import tf_lite_worker
from scenerec.export.conversion.child_process import FAILURE_FILE, REQUEST_FILE
from scenerec.export.conversion.tf_lite import CALIBRATION_FILE, Form, TfLiteRequest, convert
from scenerec.export.conversion.tf_onnx import NetworkRequest
from scenerec.export.quantization.tflite_ladder import LADDERS
from scenerec.export.source import KerasNetwork, Source, TorchNetwork
from scenerec.inference.bundles.info import Preprocessing
from scenerec.inference.predictors.tflite_predictor import TflitePredictor

import keras  # isort: skip  (after torchvision)

SIZE = 8
PREPROCESSING = Preprocessing(image_size=SIZE, eval_crop_ratio=1.0)
IMAGES = np.random.default_rng(0).integers(0, 256, (12, SIZE, SIZE, 3), dtype=np.uint8)


def network(*last: keras.layers.Layer) -> keras.Model:
    pixels = keras.Input((SIZE, SIZE, 3))
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(16, 3), keras.layers.Activation("hard_silu"), keras.layers.GlobalAveragePooling2D()]
    x = pixels
    for layer in (*layers, keras.layers.Dense(3), *last):
        x = layer(x)
    return keras.Model(pixels, x)


def request(*forms: Form, path: Path | None = None) -> TfLiteRequest:
    asked = NetworkRequest(path=str(path), image_size=SIZE, opset=18)
    return TfLiteRequest(network=asked, mean=PREPROCESSING.mean, std=PREPROCESSING.std, forms=forms)


def logits(model: keras.Model) -> np.ndarray:
    pixels = (IMAGES / 255 - PREPROCESSING.mean) / PREPROCESSING.std
    return model(pixels.astype(np.float32)).numpy()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "tolerance"), [("fp32", 1e-5), ("fp16", 2e-3), ("int8-weights", 0.02), ("int8", 0.05)]
)
def test_every_form_takes_bytes_and_answers_as_the_network(tmp_path: Path, form: Form, tolerance: float) -> None:
    model = network()
    np.save(tmp_path / CALIBRATION_FILE, IMAGES)
    (tmp_path / "model.tflite").write_bytes(
        tf_lite_worker.convert(model, request(form), form, tmp_path / CALIBRATION_FILE)
    )
    made = TflitePredictor(tmp_path / "model.tflite", threads=1)
    (taken,) = made._interpreter.get_input_details()
    assert taken["dtype"] == np.uint8 and tuple(taken["shape_signature"]) == (1, SIZE, SIZE, 3)
    expected = logits(model)
    assert np.abs(made.logits(IMAGES) - expected).max() < tolerance * np.abs(expected).max()
    operators = {entry["op_name"] for entry in made._interpreter._get_ops_details()}
    assert ("HARD_SWISH" in operators) == (form != "int8")


def test_the_worker_writes_what_is_asked_for(tmp_path: Path) -> None:
    network().save(tmp_path / "model.keras")
    (tmp_path / REQUEST_FILE).write_text(request("fp32", path=tmp_path / "model.keras").model_dump_json())
    assert tf_lite_worker.main(tmp_path) == 0
    assert TflitePredictor(tmp_path / "fp32.tflite").logits(IMAGES).shape == (12, 3)


@pytest.mark.parametrize("last", [keras.layers.Softmax(), keras.layers.Dense(3, activation="softmax")])
def test_probabilities_are_refused(tmp_path: Path, last: keras.layers.Layer) -> None:
    network(last).save(tmp_path / "model.keras")
    (tmp_path / REQUEST_FILE).write_text(request("fp32", path=tmp_path / "model.keras").model_dump_json())
    assert tf_lite_worker.main(tmp_path) == 1
    assert "ends with a softmax" in (tmp_path / FAILURE_FILE).read_text()


def test_what_has_no_keras_form_is_refused(tmp_path: Path) -> None:
    labels = ("a", "b", "c")
    module = Source("own", "own:build", TorchNetwork("own:build"), None, labels, PREPROCESSING)
    with pytest.raises(ModelError, match="own:build: TFLite is made from Keras"):
        convert(module, LADDERS["fp16"])
    saved = Source("own", str(tmp_path), KerasNetwork(tmp_path), None, labels, PREPROCESSING)
    with pytest.raises(ModelError, match=r"save it as a \.keras file"):
        convert(saved, LADDERS["fp16"])
