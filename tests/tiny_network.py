"""A network graph in a few bytes: its logits are the mean red, green and blue of the normalised image."""

import numpy as np
from onnx import ModelProto, TensorProto, helper

from scenerec.export.graphs import network_graph
from scenerec.inference.bundles.info import BundleInfo, Lineage, Preprocessing
from scenerec.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD

SIZE = 8
LABELS = ("red", "green", "blue")


def tiny_network() -> ModelProto:
    """A network graph without weights."""
    pixels = helper.make_tensor_value_info(
        network_graph.PIXELS, TensorProto.FLOAT, [network_graph.BATCH, 3, SIZE, SIZE]
    )
    logits = helper.make_tensor_value_info(network_graph.LOGITS, TensorProto.FLOAT, [network_graph.BATCH, 3])
    nodes = [
        helper.make_node("GlobalAveragePool", [network_graph.PIXELS], ["pooled"], name="pool/GlobalAveragePool"),
        helper.make_node("Flatten", ["pooled"], [network_graph.LOGITS], name="head/Flatten"),
    ]
    body = helper.make_graph(nodes, "colours", [pixels], [logits])
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def tiny_graph(in_graph: bool = True) -> ModelProto:
    """The whole graph of a bundle."""
    preprocessing = Preprocessing(image_size=SIZE, eval_crop_ratio=0.875, in_graph=in_graph)
    return network_graph.complete(tiny_network(), preprocessing)


def info_of(model: ModelProto, in_graph: bool = True) -> BundleInfo:
    """bundle.json of a whole graph; classes are numbered where they are not the three colours."""
    inputs, outputs = network_graph.contracts(model)
    size, classes = int(inputs[0].shape[2]), int(outputs[0].shape[1])
    return BundleInfo(
        name="colours",
        labels=LABELS if classes == len(LABELS) else tuple(map(str, range(classes))),
        preprocessing=Preprocessing(image_size=size, eval_crop_ratio=0.875, in_graph=in_graph),
        inputs=inputs,
        outputs=outputs,
        opset=network_graph.opset_of(model),
        lineage=Lineage(
            framework=None, arch=None, source="by hand", route="torch", scenerec="0", exported_at="2026-01-01T00:00:00Z"
        ),
    )


def random_images(count: int) -> np.ndarray:
    """uint8 [count, 8, 8, 3]"""
    return np.random.default_rng(count).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def expected_logits(images: np.ndarray) -> np.ndarray:
    """float32 [n, 3]"""
    means = images.reshape(len(images), -1, 3).mean(axis=1) / 255
    return ((means - IMAGENET_MEAN) / IMAGENET_STD).astype(np.float32)
