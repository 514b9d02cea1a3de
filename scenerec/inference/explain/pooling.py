"""The global average pooling of an ONNX graph, where features lose their positions: found and cut out.

In most convolutional networks, and in Swin, the classes follow from the mean of the last feature map over its
positions. Before that pooling features know where they are; behind it there are no positions left.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper, shape_inference
from onnx.shape_inference import InferenceError

from scenerec.errors import ScenerecError

_LOGITS = "logits"
_SMALL = 64  # values of a constant that may say a shape
_Shape = tuple[int | None, ...]


class NoHeatMapError(ScenerecError):
    """A network whose classes cannot be traced to places in the image."""

    exit_code = 6
    """Exit code of the command line."""


@dataclass(frozen=True)
class Pooling:
    """A mean over all positions that everything between images and logits goes through.

    Attributes:
        features: name of the value that is pooled, [batch, channels, rows, columns] or, channels last,
            [batch, rows, columns, channels].
        pooled: name of the result: [batch, channels], or as `features` with axes of length 1.
        channels_last: the layout of `features`.
        keeps_axes: `pooled` has four axes.
    """

    features: str
    pooled: str
    channels_last: bool
    keeps_axes: bool


def find_pooling(model: ModelProto) -> Pooling:
    """Finds the last pooling on the way to the logits.

    Those inside of squeeze-and-excitation are passed by (the features that they weight go beside them).

    Args:
        model: a bundle's graph; the data of its larger weights is not looked at.

    Raises:
        NoHeatMapError: there is none, or there is but one position to pool.
    """
    graph = model.graph
    constants, shapes = dict(_small_constants(graph)), _shapes(model)
    images = {value.name for value in graph.input} - {tensor.name for tensor in graph.initializer}
    for node in reversed(graph.node):
        pooling = _as_pooling(node, constants, shapes)
        if pooling and not images & _needed(graph, {pooling.pooled})[1]:
            shape = shapes.get(pooling.features)
            if shape and _positions(shape, pooling) == (1, 1):
                raise NoHeatMapError("its feature map has one position only: export it for larger images")
            return pooling
    raise NoHeatMapError(
        "its classes do not follow from the mean of a feature map (ViT reads them off a token, VGG and AlexNet weight "
        "each position): take another architecture"
    )


def features_model(model: ModelProto, pooling: Pooling) -> ModelProto:
    """Cuts the model from its input to the feature map. Weights outside of the file stay there."""
    nodes, _ = _needed(model.graph, set(), pooling.features)
    images = model.graph.input[0]  # where they were taken comes in behind
    return _part(model, nodes, [images], pooling.features)


def head_model(model: ModelProto, pooling: Pooling, element_type: int) -> ModelProto:
    """Cuts the model from the pooled features, of any batch size, to the logits, in float between the layers.

    The rounding of an int8 model is left out: its range is that of means, and single positions lie beyond it.

    Args:
        model: which `pooling` was found in.
        pooling: where to cut.
        element_type: of the feature map, one of TensorProto's.
    """
    nodes, _ = _needed(model.graph, {pooling.pooled})
    pooled = helper.make_tensor_value_info(pooling.pooled, element_type, [None] * (4 if pooling.keeps_axes else 2))
    return _part(model, list(_float_head(nodes, pooling)), [pooled], _LOGITS)


def _as_pooling(node: NodeProto, constants: dict[str, np.ndarray], shapes: dict[str, _Shape]) -> Pooling | None:
    """`node`, if it is a mean over both axes of an image."""
    if node.op_type == "GlobalAveragePool":
        return Pooling(node.input[0], node.output[0], channels_last=False, keeps_axes=True)
    shape = shapes.get(node.input[0]) if node.input else None
    options = _options(node)
    if node.op_type == "AveragePool":
        if shape is None or tuple(options["kernel_shape"]) != shape[2:] or any(options.get("pads", ())):
            return None
        return Pooling(node.input[0], node.output[0], channels_last=False, keeps_axes=True)
    if node.op_type != "ReduceMean" or (shape and len(shape) != 4):
        return None
    axes = options.get("axes", [])
    if len(node.input) > 1 and node.input[1] in constants:
        axes = constants[node.input[1]].tolist()
    found = sorted(axis % 4 for axis in axes)
    if found not in ([1, 2], [2, 3]):
        return None
    return Pooling(node.input[0], node.output[0], found == [1, 2], bool(options.get("keepdims", 1)))


def _options(node: NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _positions(shape: _Shape, pooling: Pooling) -> _Shape:
    return shape[1:3] if pooling.channels_last else shape[2:]


def _needed(graph: GraphProto, given: set[str], wanted: str = _LOGITS) -> tuple[list[NodeProto], set[str]]:
    """Nodes, in order, that `wanted` follows from when the values `given` are known; and what they all read.

    How many images there are is no knowledge of them.
    """
    names, nodes = {wanted}, []
    for node in reversed(graph.node):
        if names.intersection(node.output) and not given.intersection(node.output):
            nodes.append(node)
            if not (given and _counts_images(node)):
                names.update(node.input)
    return nodes[::-1], names


def _counts_images(node: NodeProto) -> bool:
    options = _options(node)
    return node.op_type == "Shape" and options.get("start", 0) == 0 and options.get("end") == 1


def _float_head(nodes: Iterable[NodeProto], pooling: Pooling) -> Iterator[NodeProto]:
    """Copies that count pooled features instead of images, and that do not quantise what follows from them."""
    following = {pooling.pooled}
    for node in nodes:
        copied = NodeProto()
        copied.CopyFrom(node)
        if _counts_images(node):
            copied.input[0] = pooling.pooled
        elif following.intersection(node.input):
            following.update(node.output)
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                copied = helper.make_node("Identity", [node.input[0]], node.output, name=node.name)
        yield copied


def _part(model: ModelProto, nodes: list[NodeProto], inputs: list[ValueInfoProto], output: str) -> ModelProto:
    read = {name for node in nodes for name in node.input}
    # Without a type: runtimes infer it.
    graph = helper.make_graph(nodes, model.graph.name, inputs, [ValueInfoProto(name=output)])
    graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in read)
    return helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=model.ir_version, functions=model.functions
    )


def _small_constants(graph: GraphProto) -> Iterator[tuple[str, np.ndarray]]:
    """Shapes, axes and the like."""
    for tensor in graph.initializer:
        if _is_small(tensor):
            yield tensor.name, numpy_helper.to_array(tensor)
    for node in graph.node:
        if node.op_type == "Constant":
            value = helper.get_attribute_value(node.attribute[0])
            yield node.output[0], numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.array(value)


def _shapes(model: ModelProto) -> dict[str, _Shape]:
    """Infers the shapes of the values in the graph, as far as they can be; None for axes of any length."""
    graph = model.graph
    weights = [tensor for tensor in graph.initializer if not _is_small(tensor)]
    inputs = [*graph.input, *(helper.make_tensor_value_info(each.name, each.data_type, each.dims) for each in weights)]
    bare = helper.make_graph(list(graph.node), graph.name, inputs, list(graph.output), value_info=graph.value_info)
    bare.initializer.extend(tensor for tensor in graph.initializer if _is_small(tensor))
    skeleton = helper.make_model(bare, opset_imports=model.opset_import, ir_version=model.ir_version)
    try:
        inferred = shape_inference.infer_shapes(skeleton, data_prop=True).graph
    except InferenceError:
        return {}
    return {
        value.name: tuple(
            dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim
        )
        for value in (*inferred.value_info, *inferred.input)
        if value.type.tensor_type.HasField("shape")
    }


def _is_small(tensor: TensorProto) -> bool:
    return tensor.data_location != TensorProto.EXTERNAL and int(np.prod(tensor.dims)) <= _SMALL
