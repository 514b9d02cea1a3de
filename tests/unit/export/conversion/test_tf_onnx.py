"""TensorFlow models, by the steps of the child process in this one. Through the child: tests/integration."""

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
from onnx import ModelProto

from scenerec.errors import ModelError
from scenerec.export.conversion import tf_onnx, tf_onnx_worker
from scenerec.export.conversion.child_process import FAILURE_FILE, REQUEST_FILE, ChildLimits
from scenerec.export.conversion.tf_onnx import ConversionError, NetworkRequest
from scenerec.export.graphs import optimize
from scenerec.export.graphs.network_graph import check_network, module_of
from scenerec.export.source import KerasNetwork, Source, TorchNetwork
from scenerec.inference.bundles.info import Preprocessing
from scenerec.inference.predictors.onnx_predictor import open_session
from scenerec.inference.predictors.trained_model import ZooNetwork
from scenerec.models import torch_model  # before keras, which imports tensorflow

import keras  # isort: skip

ARCH, CLASSES, SIZE = "shufflenet_v2_x0_5", 4, 64


def source(network: ZooNetwork | KerasNetwork | TorchNetwork) -> Source:
    return Source("m", "runs/m", network, None, ("a",) * CLASSES, Preprocessing(image_size=SIZE, eval_crop_ratio=1))


@pytest.fixture(scope="module")
def drawn() -> Source:
    return source(ZooNetwork(ARCH, CLASSES, torch_model.state(torch_model.build(ARCH, CLASSES, seed=0))))


def test_a_process_beyond_its_memory_is_ended(drawn: Source) -> None:
    with pytest.raises(ConversionError, match=r"^runs/m: tf2onnx needs more than 0\.0 GiB.*: use --route"):
        tf_onnx.convert(drawn, limits=ChildLimits(memory_bytes=2**20))
    assert _children() == []


def test_a_process_beyond_its_time_is_ended(drawn: Source) -> None:
    with pytest.raises(ConversionError, match=r"takes more than 0\.2 s"):
        tf_onnx.convert(drawn, limits=ChildLimits(time_s=0.2))
    assert _children() == []


def test_bad_requests_are_refused_before_a_process_starts(drawn: Source, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="224 px only"):
        tf_onnx.convert(source(ZooNetwork("vit_b_16", CLASSES, {})))
    with pytest.raises(ModelError, match="opset 9"):
        tf_onnx.convert(drawn, opset=9)
    with pytest.raises(ModelError, match="does not exist"):
        tf_onnx.convert(source(KerasNetwork(tmp_path / "none.keras")))
    with pytest.raises(ModelError, match="only the zoo's networks have a Keras twin"):
        tf_onnx.convert(source(TorchNetwork("own:build")))


def make_model(final: str | None = "softmax", size: int | None = 16) -> keras.Model:
    """With the layers of Keras that our twins do not use."""
    layers = keras.layers
    images = keras.Input((size, size, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="hard_swish", name="stem")(images)
    x = layers.Conv2D(8, 1, groups=2, name="grouped")(x)
    x = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same", name="depthwise_conv2d")(x))
    x = layers.Dense(8, activation="gelu", name="block_1")(layers.LayerNormalization()(x))
    x = layers.GlobalAveragePooling2D()(layers.MaxPooling2D(2)(x))
    model = keras.Model(images, layers.Dense(5, activation=final)(x))
    generator = np.random.default_rng(0)
    model.set_weights([array + generator.uniform(0.01, 0.2, array.shape) for array in model.get_weights()])
    return model


def in_this_process(folder: Path, path: Path, image_size: int = 16, opset: int = 18) -> ModelProto:
    """What the child does. Raises what it reports."""
    folder.mkdir()
    request = NetworkRequest(path=str(path), image_size=image_size, opset=opset)
    (folder / REQUEST_FILE).write_text(request.model_dump_json())
    if tf_onnx_worker.main(folder):
        raise ModelError((folder / FAILURE_FILE).read_text())
    network = onnx.load(folder / tf_onnx.NETWORK_FILE)
    check_network(network)
    return network


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`make_model`, saved."""
    path = tmp_path_factory.mktemp("keras") / "model.keras"
    make_model().save(path)
    return path


@pytest.fixture(scope="module")
def convert(keras_file: Path) -> Callable[[int], ModelProto]:
    """opset -> `make_model`'s network, converted when first asked for."""
    return cache(lambda opset: in_this_process(keras_file.parent / f"opset-{opset}", keras_file, opset=opset))


@pytest.mark.slow
@pytest.mark.parametrize("opset", [18, 20])
def test_a_keras_files_softmax_is_cut_off(convert: Callable[[int], ModelProto], keras_file: Path, opset: int) -> None:
    network = convert(opset)
    assert [entry.key for entry in network.metadata_props] == [tf_onnx.SOFTMAX_REMOVED]
    assert {("", opset)} == {(entry.domain, entry.version) for entry in network.opset_import}
    images = _images()
    expected = np.asarray(keras.models.load_model(keras_file)(images))
    for one in (network, optimize.clean(network)):
        exponents = np.exp(_run(one, images))
        probabilities = exponents / exponents.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(probabilities, expected, atol=1e-5)


@pytest.mark.parametrize(("opset", "gelu"), [(18, "Erf"), (20, "Gelu")])
def test_a_clean_keras_network_is_fused(convert: Callable[[int], ModelProto], opset: int, gelu: str) -> None:
    cleaned = optimize.clean(convert(opset))
    operators = Counter(node.op_type for node in cleaned.graph.node)
    assert operators["HardSwish"] == operators["LayerNormalization"] == operators[gelu] == 1
    assert not {"BatchNormalization", "Clip", "Sqrt", "Neg", "Shape"} & operators.keys()
    assert {"stem", "grouped", "depthwise_conv2d", "block_1"} <= {module_of(node) for node in cleaned.graph.node}


@pytest.mark.slow
def test_a_saved_model_of_any_size_gets_the_one_that_is_stated(tmp_path: Path) -> None:
    model = make_model(final=None, size=None)
    model.export(str(tmp_path / "saved"), verbose=False)
    network = in_this_process(tmp_path / "sized", tmp_path / "saved")
    assert not network.metadata_props
    np.testing.assert_allclose(_run(network, _images()), np.asarray(model(_images())), atol=1e-5)


REFUSED: dict[str, tuple[Callable[[], keras.Model], int, str]] = {
    "another size": (make_model, 32, "not square images of 32 px"),
    "vectors": (lambda: keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)]), 8, r"takes float32 \[\?, 8\]"),
    "no logits": (
        lambda: keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)]),
        8,
        "not .batch, cl",
    ),
}


@pytest.mark.parametrize(("make", "image_size", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_image_classifier_is_refused(
    tmp_path: Path, make: Callable[[], keras.Model], image_size: int, message: str
) -> None:
    make().save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match=message):
        in_this_process(tmp_path / "work", tmp_path / "model.keras", image_size)


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"^Keras does not load it: "):
        in_this_process(tmp_path / "work", tmp_path / "model.keras")


@keras.saving.register_keras_serializable("tests")
class Lgamma(keras.layers.Layer):
    """An operator that ONNX has not."""

    def call(self, x: Any) -> Any:
        import tensorflow as tf

        return tf.math.lgamma(x + 1.0)


def test_an_unsupported_operator_is_named_with_its_layer(tmp_path: Path) -> None:
    images = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(Lgamma(name="factorial")(images))
    keras.Model(images, keras.layers.Dense(3)(x)).save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match=r"^tf2onnx has no equivalent of TensorFlow's Lgamma \(in factorial\)"):
        in_this_process(tmp_path / "work", tmp_path / "model.keras", image_size=8)


def _images() -> np.ndarray:
    return np.random.default_rng(2).normal(size=(3, 16, 16, 3)).astype(np.float32)


def _run(network: ModelProto, images: np.ndarray) -> np.ndarray:
    """NHWC images; logits."""
    pixels = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return np.asarray(open_session(network.SerializeToString()).run(None, {"pixels": pixels})[0])


def _children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "tf_onnx_worker" in " ".join(child.cmdline())]
