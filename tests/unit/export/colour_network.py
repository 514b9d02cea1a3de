"""A network with layers to quantise that tells colours: a stem, a large layer, a hard-swish, a head."""

from functools import cache
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from scenerec.export.graphs import network_graph
from scenerec.inference.bundles.bundle import GOLDEN_FILE, Bundle, Golden, open_bundle
from scenerec.inference.bundles.bundle import write_bundle as write
from scenerec.inference.bundles.info import BundleInfo, Lineage, Preprocessing
from tests.colour_set import CLASSES

SIZE = 8
CHANNELS = 128
PREPROCESSING = Preprocessing(image_size=SIZE, eval_crop_ratio=1.0)


@cache
def colour_network(outlier: float = 1.0) -> ModelProto:
    """A network graph whose logits follow the mean colours; one of the large layer's weights is `outlier`.

    That weight's input channel is always zero: in float32 the outlier changes nothing.
    """
    rng = np.random.default_rng(0)
    stem = rng.normal(size=(CHANNELS, 3)).astype(np.float32)
    stem[0] = 0
    large = (rng.normal(size=(CHANNELS, CHANNELS)) / np.sqrt(CHANNELS)).astype(np.float32)
    large[0, 0] = outlier
    mean, std = np.array(PREPROCESSING.mean), np.array(PREPROCESSING.std)
    pixels = (random_images(200).reshape(200, -1, 3) / 255 - mean) / std
    hidden = np.maximum(pixels @ stem.T, 0) @ large.T
    pooled, colours = _hard_swish(hidden).mean(axis=1), (pixels * std).mean(axis=1)
    head = np.linalg.lstsq(pooled, 20 * colours, rcond=None)[0].T.astype(np.float32)
    weights = {
        "stem.weight": stem[:, :, None, None],
        "large.weight": large[:, :, None, None],
        "head.weight": head,
        "head.bias": (20 * mean).astype(np.float32),
        "axes": np.array([2, 3]),
        "unused": np.zeros(1, np.float32),
    }
    nodes = [
        helper.make_node("Conv", [network_graph.PIXELS, "stem.weight"], ["a"], name="stem/Conv"),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "large.weight"], ["c"], name="large/Conv"),
        helper.make_node("HardSwish", ["c"], ["d"], name="large/HardSwish"),
        helper.make_node("ReduceMean", ["d", "axes"], ["e"], name="pool/ReduceMean"),
        helper.make_node("Flatten", ["e"], ["f"], name="pool/Flatten"),
        helper.make_node("Gemm", ["f", "head.weight", "head.bias"], [network_graph.LOGITS], name="head/Gemm", transB=1),
    ]
    body = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info(network_graph.PIXELS, TensorProto.FLOAT, [network_graph.BATCH, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info(network_graph.LOGITS, TensorProto.FLOAT, [network_graph.BATCH, 3])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def colour_model(outlier: float = 1.0) -> ModelProto:
    """The whole graph of a bundle."""
    return network_graph.complete(colour_network(outlier), PREPROCESSING)


def write_bundle(model: ModelProto, folder: Path) -> Bundle:
    """A bundle of `colour_model`'s kind."""
    inputs, outputs = network_graph.contracts(model)
    info = BundleInfo(
        name="colours",
        labels=CLASSES,
        preprocessing=PREPROCESSING,
        inputs=inputs,
        outputs=outputs,
        opset=18,
        lineage=Lineage(
            framework=None, arch=None, source="by hand", route="torch", scenerec="0", exported_at="2026-01-01T00:00:00Z"
        ),
    )
    golden = Golden(np.zeros((1, SIZE, SIZE, 3), np.uint8), np.zeros((1, 3), np.float32))
    folder.mkdir()
    files = {path.name: path for path in network_graph.save(model, folder)}
    write(str(folder / "bundle"), info, {**files, GOLDEN_FILE: golden.to_bytes()})
    return open_bundle(str(folder / "bundle"))


def random_images(count: int) -> np.ndarray:
    """uint8 [count, 8, 8, 3], each of a colour of its own."""
    rng = np.random.default_rng(count)
    colours = rng.integers(40, 180, (count, 1, 1, 3))
    return (colours + rng.integers(-20, 21, (count, SIZE, SIZE, 3))).astype(np.uint8)


def _hard_swish(x: np.ndarray) -> np.ndarray:
    return x * np.clip(x / 6 + 0.5, 0, 1)
