"""ONNX graphs, whichever framework they come from: from normalised pixels to a graph that takes photographs.

A *network graph* is an ONNX model with one input, `pixels`: float32 [batch, 3, height, width], normalised, and one
output, `logits`: float32 [batch, classes], or features; `batch` is symbolic. One that reads coordinates has two more
inputs, in this order: `coordinates`, float32 [batch, 3], and `known`, float32 [batch, 2] (see `scenerec.models.geo`).
"""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from scenerec.config.task import ModelTask
from scenerec.errors import ModelError
from scenerec.inference.bundles.info import EMBEDDING, ONNX_FILE, Preprocessing, TensorContract
from scenerec.models.geo import COORDINATES, ENCODING_PATH, KNOWN

BATCH = "batch"
"""Name of the axis that counts images."""
PLACES = "places"
"""Name of the axis of coordinates in a finished graph: as many as images, or one for all."""
PIXELS = "pixels"
"""Name of a network graph's input: normalised pixels."""
IMAGES = "images"
"""Name of a complete graph's input: photographs in bytes."""
LOGITS = "logits"
"""Name of the output with logits."""
PROBABILITIES = "probabilities"
"""Name of the output with probabilities."""

PLACE_INPUTS = (
    TensorContract(name=COORDINATES, dtype="float32", shape=(BATCH, 3)),
    TensorContract(name=KNOWN, dtype="float32", shape=(BATCH, 2)),
)
"""Inputs of a graph that reads coordinates, after the images."""

OWN_PREFIX = "scenerec."
"""Beginning of the names of the nodes and values that `complete` adds."""

INVERSE_TEMPERATURE = f"{OWN_PREFIX}inverse_temperature"
"""Name of the constant that logits are multiplied by before they become probabilities."""
SCALED_LOGITS = f"{OWN_PREFIX}scaled_logits"
"""Name of the node that does so, and of what it gives."""
ONNX_DATA_FILE = "model.onnx.data"
"""Name of the file with the weights that do not fit into the model's."""
PROTOBUF_BYTES = 2_000_000_000
"""Most bytes of weights that go into one protobuf message, whose limit is 2 GiB."""
_EXTERNAL_FROM_BYTES = 1024


def complete(network: ModelProto, preprocessing: Preprocessing, task: ModelTask = "classification") -> ModelProto:
    """Copies a network graph, and lets the copy answer with probabilities and logits, in this order.

    Probabilities are the softmax of the logits, or of a multi-label network their logistic function. Where the task is
    `embedding`, the network's logits are features: the graph's only output, `embedding`.
    Where `preprocessing.in_graph`, its input is `images`: uint8 RGB [batch, height, width, 3], which it normalises;
    else it stays `pixels`. Raises ModelError where `network` is not a network graph.
    """
    check_network(network)
    model = copy_of(network)
    graph = model.graph
    size, classes = preprocessing.image_size, axes(graph.output[0])[1]
    if preprocessing.in_graph:
        nodes = _normalising(graph, preprocessing)
        kept, places = list(graph.node), list(graph.input[1:])
        del graph.node[:], graph.input[:]
        graph.node.extend([*nodes, *kept])
        images = helper.make_tensor_value_info(IMAGES, TensorProto.UINT8, [BATCH, size, size, 3])
        graph.input.extend([images, *places])
        graph.value_info.append(helper.make_tensor_value_info(PIXELS, TensorProto.FLOAT, [BATCH, 3, size, size]))
    if task == "embedding":
        _rename(graph, LOGITS, EMBEDDING)
        return model
    name = f"{OWN_PREFIX}{PROBABILITIES}"
    if task == "multilabel":
        graph.node.append(helper.make_node("Sigmoid", [LOGITS], [PROBABILITIES], name=name))
    else:
        graph.node.append(helper.make_node("Softmax", [LOGITS], [PROBABILITIES], name=name, axis=-1))
    graph.output.insert(0, helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, [BATCH, classes]))
    return model


def with_temperature(model: ModelProto, temperature: float) -> ModelProto:
    """Copies a complete graph, whatever was made of it since, and divides what its probabilities are made of.

    The logits stay as they are.
    """
    scaled = copy_of(model)
    graph = scaled.graph
    index = next(index for index, node in enumerate(graph.node) if PROBABILITIES in node.output)
    softmax = graph.node[index]
    assert softmax.op_type == "Softmax", softmax.op_type
    graph.initializer.append(numpy_helper.from_array(np.float32(1 / temperature), INVERSE_TEMPERATURE))
    scale = helper.make_node("Mul", [softmax.input[0], INVERSE_TEMPERATURE], [SCALED_LOGITS], name=SCALED_LOGITS)
    graph.node.insert(index, scale)
    softmax.input[0] = SCALED_LOGITS
    return scaled


def with_unknown_places(model: ModelProto) -> ModelProto:
    """Copies a graph, and lets the copy take images alone, too: without coordinates, none is known.

    Their inputs are then of one row for each image, or of one row for all; by default of one row of zeros. A graph that
    reads none is copied as it is.
    """
    copied = copy_of(model)
    for value in copied.graph.input:
        if value.name in (COORDINATES, KNOWN):
            rows, columns = value.type.tensor_type.shape.dim
            if rows.dim_param:
                rows.dim_param = PLACES
            zeros = np.zeros((1, columns.dim_value), np.float32)
            copied.graph.initializer.append(numpy_helper.from_array(zeros, value.name))
            del copied.graph.value_info[:]  # which say that there are as many rows as images
    return copied


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Gives a value of the graph another name."""
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]
    for value in graph.output:
        value.name = new if value.name == old else value.name


def _normalising(graph: onnx.GraphProto, preprocessing: Preprocessing) -> list[NodeProto]:
    """From `images` to `pixels`.

    Scaled where channels are planes: onnxruntime takes 40 times as long to broadcast over three interleaved channels.
    Cast first, as TensorRT takes bytes for that alone.
    """
    constants = {
        f"{OWN_PREFIX}mean": np.array(preprocessing.mean) * 255,
        f"{OWN_PREFIX}scale": 1 / (np.array(preprocessing.std) * 255),
    }
    for name, values in constants.items():
        graph.initializer.append(numpy_helper.from_array(values.astype(np.float32).reshape(1, 3, 1, 1), name))
    mean, scale = constants
    floats, planes, centered = (f"{OWN_PREFIX}{name}" for name in ("floats", "planes", "centered"))
    return [
        helper.make_node("Cast", [IMAGES], [floats], name=floats, to=TensorProto.FLOAT),
        helper.make_node("Transpose", [floats], [planes], name=planes, perm=[0, 3, 1, 2]),
        helper.make_node("Sub", [planes, mean], [centered], name=centered),
        helper.make_node("Mul", [centered, scale], [PIXELS], name=f"{OWN_PREFIX}{PIXELS}"),
    ]


def check_network(network: ModelProto) -> None:
    """Raises ModelError, which says what differs, unless `network` is a network graph."""
    found = {
        "inputs": [_contract(value) for value in network.graph.input],
        "outputs": [_contract(value) for value in network.graph.output],
    }
    pixels, logits = found["inputs"], found["outputs"]
    is_network = (
        len(logits) == 1
        and tuple(pixels[1:]) in ((), PLACE_INPUTS)
        and (pixels[0].name, pixels[0].dtype, pixels[0].shape[:2]) == (PIXELS, "float32", (BATCH, 3))
        and len(pixels[0].shape) == 4
        and all(isinstance(side, int) for side in pixels[0].shape[2:])
        and (logits[0].name, logits[0].dtype, logits[0].shape[:1]) == (LOGITS, "float32", (BATCH,))
        and len(logits[0].shape) == 2
        and isinstance(logits[0].shape[1], int)
    )
    if not is_network:
        described = "; ".join(f"{kind} {', '.join(map(_describe, values))}" for kind, values in found.items())
        raise ModelError(
            f"the model must take {PIXELS} float32 [{BATCH}, 3, height, width], with or without {COORDINATES} and "
            f"{KNOWN}, and give {LOGITS} float32 [{BATCH}, classes]; it has {described}"
        )


def contracts(model: ModelProto) -> tuple[tuple[TensorContract, ...], tuple[TensorContract, ...]]:
    """Describes the inputs and the outputs of a graph, each in its order."""
    inputs, outputs = model.graph.input, model.graph.output
    return tuple(_contract(value) for value in inputs), tuple(_contract(value) for value in outputs)


def axes(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    """Returns the shape of an input or output: lengths, or names of axes of any length ("?" for one without a name)."""
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in dims)


def fix_batch(model: ModelProto, batch: int) -> ModelProto:
    """Copies a model with `batch` in place of the symbolic axis, for runtimes that take fixed shapes only."""
    fixed = copy_of(model)
    for value in (*fixed.graph.input, *fixed.graph.output, *fixed.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == BATCH:
                dim.dim_value = batch
    return fixed


def copy_of(model: ModelProto) -> ModelProto:
    """Returns a copy that can be changed without changing `model`."""
    copied = ModelProto()
    copied.CopyFrom(model)
    return copied


def save(model: ModelProto, folder: Path, largest_bytes: int = PROTOBUF_BYTES) -> list[Path]:
    """Writes `folder`/model.onnx and returns the files: beyond `largest_bytes` the weights go beside it.

    The same model gives the same bytes. In the second case `model` is changed: its weights are in the file then.
    """
    path = folder / ONNX_FILE
    if weight_bytes(model) <= largest_bytes:
        path.write_bytes(model.SerializeToString(deterministic=True))
        return [path]
    onnx.save(model, path, save_as_external_data=True, location=ONNX_DATA_FILE, size_threshold=_EXTERNAL_FROM_BYTES)
    return [path, folder / ONNX_DATA_FILE]


def weight_bytes(model: ModelProto) -> int:
    """Counts the bytes of the initializers' data, which is nearly all of a model."""
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer)


def opset_of(model: ModelProto) -> int:
    """Returns the version of the standard operator set that the model uses."""
    return next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def module_of(node: NodeProto) -> str:
    """Returns the path of the module that a node comes from, as its name MODULE/OPERATOR tells; "" for none."""
    return node.name.rpartition("/")[0]


def is_kept_float(node: NodeProto) -> bool:
    """Whether a node stays in float32 in any case: what `complete` adds; and degrees, which shorter numbers blur."""
    return node.name.startswith(OWN_PREFIX) or module_of(node) == ENCODING_PATH


class NodeNames:
    """Names for the nodes of one graph: MODULE/OPERATOR, numbered from the second on where a module has several."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    def take(self, module: str, operator: str) -> str:
        """Returns the next name for an operator of a module; "" is no module."""
        name = f"{module}/{operator}" if module else operator
        self._taken[name] += 1
        return f"{name}_{self._taken[name]}" if self._taken[name] > 1 else name


def _contract(value: onnx.ValueInfoProto) -> TensorContract:
    dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name
    return TensorContract(name=value.name, dtype=dtype, shape=axes(value))


def _describe(value: TensorContract) -> str:
    return f"{value.name} {value.dtype} [{', '.join(map(str, value.shape))}]"
