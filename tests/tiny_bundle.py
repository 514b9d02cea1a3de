"""A bundle in a few bytes: the class is the image's strongest colour."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from scenerec.inference.bundle import (
    GOLDEN_FILE,
    ONNX_FILE,
    Bundle,
    BundleInfo,
    Golden,
    Lineage,
    Preprocessing,
    TensorContract,
    open_bundle,
    write_bundle,
)

IMAGE_SIZE = 8
LABELS = ("red", "green", "blue")


def tiny_model(scale: float = 0.05) -> bytes:
    """logits = scale x the mean of each colour over the pixels."""
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0),
        helper.make_node("Mul", ["means", "scale"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
        helper.make_tensor("scale", TensorProto.FLOAT, [], [scale]),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", IMAGE_SIZE, IMAGE_SIZE, 3])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in ("probabilities", "logits")
    ]
    graph = helper.make_graph(nodes, "tiny", [images], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def make_tiny_bundle(folder: Path, scale: float = 0.05, answered: float | None = None, **info: Any) -> Bundle:
    """Writes one to `folder`. With `answered` its golden logits are those of another scale: it does not answer them."""
    images = np.random.default_rng(0).integers(0, 256, (4, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    logits = (images.astype(np.float32).mean(axis=(1, 2)) * (scale if answered is None else answered)).astype(
        np.float32
    )
    shape = ("batch", len(LABELS))
    described = BundleInfo(
        **{
            "name": "tiny",
            "labels": LABELS,
            "preprocessing": Preprocessing(image_size=IMAGE_SIZE, eval_crop_ratio=1.0),
            "inputs": (TensorContract(name="images", dtype="uint8", shape=("batch", IMAGE_SIZE, IMAGE_SIZE, 3)),),
            "outputs": tuple(
                TensorContract(name=name, dtype="float32", shape=shape) for name in ("probabilities", "logits")
            ),
            "opset": 18,
            "lineage": Lineage(
                framework="torch",
                arch=None,
                source="tests",
                route="torch",
                scenerec="0.1.0",
                exported_at="2026-01-01T00:00:00+00:00",
            ),
            **info,
        }
    )
    write_bundle(str(folder), described, {ONNX_FILE: tiny_model(scale), GOLDEN_FILE: Golden(images, logits).to_bytes()})
    return open_bundle(str(folder))
