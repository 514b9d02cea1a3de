"""Keras models become TFLite files, in a process of their own, that pass a gate, or none."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter

from scenerec.data.packed_set import PackedSet, open_set
from scenerec.errors import ModelError
from scenerec.export.conversion.tf_lite import convert
from scenerec.export.quantization.accuracy_gate import GateError
from scenerec.export.quantization.tflite_ladder import Settings, make
from scenerec.export.source import KerasNetwork, Source
from scenerec.export.xnnpack_plan import xnnpack_plan
from scenerec.inference.bundles.info import Preprocessing
from scenerec.inference.predictors.predictor import Predictor
from scenerec.inference.predictors.tflite_predictor import TflitePredictor
from scenerec.inference.predictors.trained_model import ZooNetwork
from scenerec.models import torch_model
from tests.colour_set import CLASSES, PER_CLASS, WRONG, pack_colours

import keras  # isort: skip  (after torchvision)

SIZE = 8
PREPROCESSING = Preprocessing(image_size=SIZE, eval_crop_ratio=1.0)
IMAGES = 3 * PER_CLASS


class Colours(Predictor):
    """What the Keras model computes, in numpy."""

    name, labels, image_size, eval_crop_ratio = "colours", CLASSES, SIZE, 1.0

    def logits(self, images: np.ndarray, coordinates: np.ndarray | None = None) -> np.ndarray:
        return images.mean(axis=(1, 2), dtype=np.float32) / 255


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> PackedSet:
    return open_set(pack_colours(tmp_path_factory.mktemp("colours")))


def source(folder: Path, *last: keras.layers.Layer) -> Source:
    """logits = mean colours, by way of pixels so bright that hard-swish leaves them as they are."""
    pixels, std = keras.Input((SIZE, SIZE, 3)), np.array(PREPROCESSING.std, np.float32)
    brighten, head = keras.layers.Conv2D(3, 1), keras.layers.Dense(3)
    x = keras.layers.Activation("hard_silu")(brighten(pixels))
    x = head(keras.layers.GlobalAveragePooling2D()(x))
    brighten.set_weights([np.eye(3, dtype=np.float32)[None, None], np.full(3, 6, np.float32)])
    head.set_weights([np.diag(std), np.array(PREPROCESSING.mean, np.float32) - 6 * std])
    for layer in last:
        x = layer(x)
    keras.Model(pixels, x).save(folder / "colours.keras")
    network = KerasNetwork(folder / "colours.keras")
    return Source("colours", str(network.path), network, None, CLASSES, PREPROCESSING)


def operators(folder: Path, model: bytes) -> set[str]:
    (folder / "model.tflite").write_bytes(model)
    interpreter = Interpreter(model_path=str(folder / "model.tflite"), num_threads=1)
    assert interpreter.get_input_details()[0]["dtype"] == np.uint8
    assert interpreter.get_input_details()[0]["quantization"] == (1.0, 0)
    return {entry["op_name"] for entry in interpreter._get_ops_details()}


def test_an_integer_model_passes_the_gate(tmp_path: Path, colours: PackedSet) -> None:
    said: list[str] = []
    settings = Settings(calibration_images=12, seconds=0.0)
    converted = make(source(tmp_path), "int8", Colours(), colours, colours, settings, said.append)
    report = converted.report
    assert report["fp32"]["top1"] == pytest.approx(1 - WRONG / IMAGES)
    assert report["taken"]["top1"] >= report["fp32"]["top1"] - 0.005 and report["taken"]["images"] == IMAGES
    assert [trial["form"] for trial in report["trials"]] == ["int8", "int8-weights"]
    assert all(trial["snr_db"] > 30 for trial in report["trials"])
    assert len(said) == 3 and "TFLite int8: top-1" in said[1]
    found = operators(tmp_path, converted.model)
    assert "CONV_2D" in found and "HARD_SWISH" not in found
    plan = xnnpack_plan(converted.model)
    assert (plan.pieces, plan.left) == (1, {"QUANTIZE": 1})  # from the image's bytes to the network's


def test_what_loses_too_much_is_refused(tmp_path: Path, colours: PackedSet) -> None:
    impossible = Settings(max_top1_drop=-20.0, seconds=0.0)
    with pytest.raises(
        GateError, match=r"no TFLite bundle: fp16 loses 0\.0 points of top-1 \(fp32 93\.3%, TFLite 93\.3%"
    ):
        make(source(tmp_path), "fp16", Colours(), None, colours, impossible)


def test_probabilities_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"colours\.keras: ends with a softmax"):
        convert(source(tmp_path, keras.layers.Softmax()), ["fp32"])


def test_an_architecture_of_the_zoo_answers_as_its_torch_network(tmp_path: Path) -> None:
    network = torch_model.build("shufflenet_v2_x0_5", 3, seed=1).eval()
    zoo = ZooNetwork("shufflenet_v2_x0_5", 3, torch_model.state(network))
    seen = Preprocessing(image_size=32, eval_crop_ratio=1.0)
    made = convert(Source("zoo", "zoo", zoo, None, CLASSES, seen), ["fp32"])
    (tmp_path / "model.tflite").write_bytes(made["fp32"])
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    pixels = (images / 255 - PREPROCESSING.mean) / PREPROCESSING.std
    with torch.no_grad():
        expected = network(torch.from_numpy(pixels).float().permute(0, 3, 1, 2)).numpy()
    found = TflitePredictor(tmp_path / "model.tflite").logits(images)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
