"""A bundle in a few bytes: the class is the image's strongest colour, or follows from where it was taken.

One that gives embeddings gives the colours themselves.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from scenerec.config.task import ModelTask, TaskName
from scenerec.inference.bundles.bundle import GOLDEN_FILE, Bundle, Golden, open_bundle, write_bundle
from scenerec.inference.bundles.info import ONNX_FILE, BundleInfo, Lineage, Preprocessing, TensorContract

IMAGE_SIZE = 8
LABELS = ("red", "green", "blue")


Scale = float | tuple[float, float, float]
"""Of all colours, or of each."""


PLACE_LOGITS = np.array([[0, 1, 0], [0, 0, 1], [100, 0, 0]], np.float32)
"""What coordinates add to the logits: latitude to green, longitude to blue, time to red; [3, 3]."""


def tiny_model(
    scale: Scale = 0.05, fails_on_red: bool = False, coordinates: bool = False, task: ModelTask = "classification"
) -> bytes:
    """logits = scale x the mean of each colour over the pixels, and PLACE_LOGITS, where it takes coordinates."""
    logits = "embedding" if task == "embedding" else "logits"
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0),
        helper.make_node("Mul", ["means", "scale"], ["scaled" if fails_on_red or coordinates else logits]),
        *(_PLACES if coordinates else []),
        *(_FAILURE_ON_RED if fails_on_red else []),
        *(() if task == "embedding" else [_PROBABILITIES[task]]),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
        numpy_helper.from_array(np.asarray(scale, np.float32), "scale"),
        *(_FAILURE_CONSTANTS if fails_on_red else []),
        *([numpy_helper.from_array(PLACE_LOGITS, "place_logits"), _FIRST] if coordinates else []),
    ]
    inputs = [helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", IMAGE_SIZE, IMAGE_SIZE, 3])]
    if coordinates:
        inputs.append(helper.make_tensor_value_info("coordinates", TensorProto.FLOAT, ["batch", 3]))
        inputs.append(helper.make_tensor_value_info("known", TensorProto.FLOAT, ["batch", 2]))
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in output_names(task)]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def output_names(task: ModelTask) -> tuple[str, ...]:
    """Of a bundle's graph, in order."""
    return ("embedding",) if task == "embedding" else ("probabilities", "logits")


_PROBABILITIES: dict[TaskName, onnx.NodeProto] = {
    "classification": helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    "multilabel": helper.make_node("Sigmoid", ["logits"], ["probabilities"]),
}
_FIRST = helper.make_tensor("place", TensorProto.INT64, [1], [0])
_PLACES = [
    helper.make_node("MatMul", ["coordinates", "place_logits"], ["of_place"]),
    helper.make_node("Gather", ["known", "place"], ["is_known"], axis=1),
    helper.make_node("Mul", ["of_place", "is_known"], ["of_known_place"]),
    helper.make_node("Add", ["scaled", "of_known_place"], ["logits"]),
]

_FAILURE_ON_RED = [
    helper.make_node("Gather", ["means", "first"], ["reds"], axis=1),
    helper.make_node("Div", ["reds", "very_red"], ["redness"]),
    helper.make_node("Cast", ["redness"], ["row"], to=TensorProto.INT64),
    helper.make_node("Gather", ["only_row", "row"], ["nothing"], axis=0),
    helper.make_node("Add", ["scaled", "nothing"], ["logits"]),
]
"""Looks up row 1 of a table of one row where an image is all red: onnxruntime then fails, as with a real fault."""

_FAILURE_CONSTANTS = [
    helper.make_tensor("first", TensorProto.INT64, [], [0]),
    helper.make_tensor("very_red", TensorProto.FLOAT, [], [250.0]),
    helper.make_tensor("only_row", TensorProto.FLOAT, [1, 3], [0.0, 0.0, 0.0]),
]


def make_tiny_bundle(
    folder: Path,
    scale: Scale = 0.05,
    answered: float | None = None,
    fails_on_red: bool = False,
    coordinates: bool = False,
    **info: Any,
) -> Bundle:
    """Writes one to `folder`.

    With `answered` its golden logits are those of another scale: it does not answer them. With `fails_on_red` it
    answers its golden images, but no red photograph. With `coordinates` it takes these.
    """
    task: ModelTask = info.get("task", "classification")
    images = np.random.default_rng(0).integers(0, 256, (4, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    means = images.astype(np.float32).mean(axis=(1, 2))
    logits = means * np.asarray(scale if answered is None else answered, np.float32)
    shape = ("batch", len(LABELS))
    contracts = [TensorContract(name="images", dtype="uint8", shape=("batch", IMAGE_SIZE, IMAGE_SIZE, 3))]
    if coordinates:
        contracts += [
            TensorContract(name=name, dtype="float32", shape=("batch", columns))
            for name, columns in (("coordinates", 3), ("known", 2))
        ]
    described = BundleInfo(
        **{
            "name": "tiny",
            "labels": () if task == "embedding" else LABELS,
            "preprocessing": Preprocessing(image_size=IMAGE_SIZE, eval_crop_ratio=1.0),
            "inputs": tuple(contracts),
            "outputs": tuple(TensorContract(name=name, dtype="float32", shape=shape) for name in output_names(task)),
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
    model, golden = tiny_model(scale, fails_on_red, coordinates, described.task), Golden(images, logits)
    write_bundle(str(folder), described, {ONNX_FILE: model, GOLDEN_FILE: golden.to_bytes()})
    return open_bundle(str(folder))
