"""ONNX graphs in the form that readers of the Hugging Face hub expect: pixels in, logits out."""

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from scenerec.export.graphs.network_graph import (
    INVERSE_TEMPERATURE,
    LOGITS,
    OWN_PREFIX,
    PIXELS,
    PROBABILITIES,
    SCALED_LOGITS,
    with_unknown_places,
)

HUB_PIXELS = "pixel_values"
"""Name of the input: normalised pixels."""


def for_hub(model: ModelProto, temperature: float) -> ModelProto:
    """Copies a complete graph into the form that readers of the Hugging Face hub expect.

    Its input is `pixel_values`, normalised float32 [batch, 3, height, width]; its one output is `logits`, over the
    temperature, so that their softmax are the graph's probabilities. Those of coordinates stay as they are.
    """
    copied = with_unknown_places(model)
    graph = copied.graph
    size, added = graph.input[0].type.tensor_type.shape.dim, f"{OWN_PREFIX}{PIXELS}"
    normalising = [node for node in graph.node if node.name == added]
    if normalising:  # the input is bytes: what makes pixels of them goes
        pixels, sides = normalising[0].output[0], [size[1].dim_value, size[2].dim_value]
        _remove(graph, [f"{OWN_PREFIX}{name}" for name in ("floats", "planes", "centered", PIXELS)])
    else:
        pixels, sides = graph.input[0].name, [size[2].dim_value, size[3].dim_value]
    shape = [size[0].dim_param or size[0].dim_value, 3, *sides]
    graph.input[0].CopyFrom(helper.make_tensor_value_info(HUB_PIXELS, TensorProto.FLOAT, shape))
    _remove(graph, [f"{OWN_PREFIX}{PROBABILITIES}", SCALED_LOGITS])
    del graph.output[0], graph.value_info[:]
    _rename(graph, pixels, HUB_PIXELS)
    unscaled = f"{OWN_PREFIX}unscaled_logits"
    _rename(graph, LOGITS, unscaled)
    graph.initializer.append(numpy_helper.from_array(np.float32(1 / temperature), INVERSE_TEMPERATURE))
    graph.node.append(helper.make_node("Mul", [unscaled, INVERSE_TEMPERATURE], [LOGITS], name=SCALED_LOGITS))
    return copied


def _remove(graph: onnx.GraphProto, names: list[str]) -> None:
    """Removes nodes, and the initializers that no other node reads."""
    kept = [node for node in graph.node if node.name not in names]
    del graph.node[:]
    graph.node.extend(kept)
    read = {name for node in kept for name in node.input}
    weights = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(weights)


def _rename(graph: onnx.GraphProto, name: str, other: str) -> None:
    """Calls a value otherwise wherever a node reads or writes it."""
    for node in graph.node:
        for names in (node.input, node.output):
            for index, each in enumerate(names):
                if each == name:
                    names[index] = other
