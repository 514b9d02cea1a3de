"""tf2onnx in little memory: it is given a hollow graph, in which each kernel is a placeholder of its shape.

tf2onnx, and TensorFlow's freezing and grappler before it, copy their graph many times, with all weights in it: 20 GB
for a ViT-B/16. Only vectors and scalars, which they fold and reshape, are left in; the kernels' values go from
TensorFlow's variables straight into the file.
"""

import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from onnx import ModelProto, TensorProto, helper, version_converter
from onnx.external_data_helper import set_external_data
from tf2onnx import optimizer, tf_loader, tfonnx
from tf2onnx import utils as tf2onnx_utils
from tf2onnx.graph import Graph as Tf2OnnxGraph
from tf2onnx.graph import Node as Tf2OnnxNode

from scenerec.errors import first_line
from scenerec.export.conversion.tf_onnx import SOFTMAX_REMOVED, ConversionError
from scenerec.export.graphs.network_graph import BATCH, LOGITS, PIXELS, PLACE_INPUTS, NodeNames
from scenerec.names import few

_OPSET = 18  # the newest that tf2onnx writes
_IN_GRAPH_RANK = 1
_KEPT_APART = {"_noinline", "_XlaMustCompile"}
_INPUTS = (PIXELS, *(each.name for each in PLACE_INPUTS))
_BROADCASTING = ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min")

Weights = dict[str, tf.Tensor]
"""Maps the name of a placeholder's tensor to the handle of the variable that it stands for."""


def convert(
    call: Callable[..., Any],
    image_size: int,
    layers: Collection[str],
    opset: int,
    destination: Path,
    takes_coordinates: bool = False,
) -> None:
    """Writes the network graph of a TensorFlow function, its kernels in DESTINATION.data beside it.

    Args:
        call: float32 [batch, image_size, image_size, 3] -> float32 [batch, classes].
        image_size: in pixels.
        layers: names of Keras layers, which nodes are named after.
        opset: of the result, from 18 on.
        destination: of the .onnx file.
        takes_coordinates: whether the function takes coordinates [batch, 3] and known [batch, 2] as well.

    Raises:
        ConversionError: operators have no equivalent (the message names each, and the layers that use it), or tf2onnx
            fails.
    """
    for name in ("tf2onnx", tf2onnx_utils.logger.name):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    specs = [tf.TensorSpec((None, image_size, image_size, 3), tf.float32, name="images")]
    if takes_coordinates:
        specs += [tf.TensorSpec((None, each.shape[1]), tf.float32, name=each.name) for each in PLACE_INPUTS]
    function = tf.function(call, autograph=False).get_concrete_function(*specs)
    names = [tensor.name for tensor in function.inputs[: len(specs)]]
    graph_def, weights = hollow(function, names)
    converted = _run_tf2onnx(graph_def, names, function.outputs[0].name, weights, layers)
    model: ModelProto = converted.make_model("network")
    _cut_softmax(model)
    weights = _rename(model, weights, layers)
    _name_batch(model)
    _keep_standard_domain(model)
    if opset > _OPSET:
        model = version_converter.convert_version(model, opset)
        _forget_shapes(model)  # the converter calls the batch axis unk__0: a reshape to the same shape seems another
    _save(model, weights, destination)


def hollow(function: Any, inputs: Sequence[str]) -> tuple[tf.compat.v1.GraphDef, Weights]:
    """Freezes the graph of a concrete function, with placeholders in place of variables of rank 2 and more.

    `inputs` are the names of its arguments' tensors.
    """
    captured = {placeholder.op.name: handle for handle, placeholder in function.graph.captures}
    graph_def = _inlinable(function.graph.as_graph_def())
    graph_def = _grappler(graph_def, [tensor.name for tensor in function.inputs], function)
    weights: Weights = {}
    for node in graph_def.node:
        if node.op != "ReadVariableOp" or node.input[0] not in captured:
            continue
        handle = captured[node.input[0]]
        value = _value(handle, tf.dtypes.as_dtype(node.attr["dtype"].type))
        del node.input[:]
        for attribute in set(node.attr) - {"dtype"}:
            del node.attr[attribute]
        if value.shape.rank <= _IN_GRAPH_RANK:
            node.op = "Const"
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
        else:
            node.op = "Placeholder"
            node.attr["shape"].shape.CopyFrom(value.shape.as_proto())
            weights[f"{node.name}:0"] = handle
    return _grappler(graph_def, [*inputs, *weights], function), weights


def _inlinable(graph_def: tf.compat.v1.GraphDef) -> tf.compat.v1.GraphDef:
    """Keras has convolutions in groups compiled by XLA on CPUs, in functions that grappler is to leave alone."""
    library = graph_def.library.function
    for entry in (*graph_def.node, *library, *(node for function in library for node in function.node_def)):
        for attribute in _KEPT_APART & set(entry.attr):
            del entry.attr[attribute]
    return graph_def


def _value(handle: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    return tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype)


def _grappler(graph_def: tf.compat.v1.GraphDef, inputs: list[str], function: Any) -> tf.compat.v1.GraphDef:
    """Functions inlined, constants folded."""
    with tf.Graph().as_default():
        return tf_loader.tf_optimize(inputs, [function.outputs[0].name], graph_def)


def _run_tf2onnx(
    graph_def: tf.compat.v1.GraphDef,
    names: Sequence[str],
    logits: str,
    weights: Mapping[str, Any],
    layers: Collection[str],
) -> Tf2OnnxGraph:
    inputs = [*names, *weights]
    renamed = dict(zip(names, _INPUTS, strict=False))
    try:
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(graph_def, name="")
            with tf_loader.tf_session(graph=graph):
                converted = tfonnx.process_tf_graph(
                    graph,
                    input_names=inputs,
                    output_names=[logits],
                    opset=_OPSET,
                    inputs_as_nchw=names[:1],
                    custom_op_handlers={"Erfc": (_erfc, [])},
                    tensors_to_rename={**renamed, logits: LOGITS},
                )
    except Exception as error:  # tf2onnx has no class of its own
        raise ConversionError(f"tf2onnx fails: {first_line(error)}") from None
    _check_supported(converted, layers)
    _widen_scalars(converted)
    return optimizer.optimize_graph(converted, catch_errors=True)


def _erfc(graph: Tf2OnnxGraph, node: Tf2OnnxNode, name: str, _: list[Any]) -> None:
    """Keras spells GELU with erfc(-x), which is 1 + erf(x); ONNX has erf alone."""
    one = graph.make_const(tf2onnx_utils.make_name(name), np.ones(1, np.float32)).output[0]
    (argument,), dtypes, shapes = node.inputs, node.output_dtypes, node.output_shapes
    negated = argument.type == "Neg"
    graph.remove_node(name)
    erf = graph.make_node("Erf", [argument.input[0] if negated else node.input[0]], op_name_scope=name, shapes=shapes)
    graph.make_node(
        "Add" if negated else "Sub", [one, erf.output[0]], name=name, outputs=node.output, shapes=shapes, dtypes=dtypes
    )


def _check_supported(graph: Tf2OnnxGraph, layers: Collection[str]) -> None:
    """tf2onnx leaves what it does not know as it is."""
    users: dict[str, set[str]] = {}
    for node in graph.get_nodes():
        if not (node.is_const() or node.is_graph_input() or onnx.defs.has(node.type)):
            users.setdefault(node.type, set()).add(_layer(node.name, layers) or "no layer")
    if users:
        listed = ", ".join(f"{operator} (in {few(sorted(found))})" for operator, found in sorted(users.items()))
        raise ConversionError(f"tf2onnx has no equivalent of TensorFlow's {listed}: use --route twin")


def _widen_scalars(graph: Tf2OnnxGraph) -> None:
    """From [] to [1]: tf2onnx's optimizer fails where it moves a transpose past `x + 3.0`."""
    for node in graph.get_nodes():
        if node.type not in _BROADCASTING:
            continue
        for index, operand in enumerate(node.inputs):
            if operand.is_const() and not operand.get_tensor_value(as_list=False).shape:
                value = operand.get_tensor_value(as_list=False).reshape(1)
                wide = graph.make_const(tf2onnx_utils.make_name(operand.name), value)
                graph.replace_input(node, node.input[index], wide.output[0], index)


def _cut_softmax(model: ModelProto) -> None:
    producers = {name: node for node in model.graph.node for name in node.output}
    last = producers[LOGITS]
    cut = []
    while last.op_type in ("Identity", "Softmax"):
        cut.append(last)
        last = producers[last.input[0]]
    if not any(node.op_type == "Softmax" for node in cut):
        return
    (logits,) = cut[-1].input
    for node in cut:
        model.graph.node.remove(node)
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == logits:
                    names[index] = LOGITS
    helper.set_model_props(model, {SOFTMAX_REMOVED: "1"})


def _rename(model: ModelProto, weights: Weights, layers: Collection[str]) -> Weights:
    """Names nodes LAYER/OPERATOR, numbered where a layer has several, and values after them; kernels LAYER/kernel.

    A node that tf2onnx made itself goes by its output, or by its weights.
    """
    node_names = NodeNames()

    def name(paths: Sequence[str], kind: str) -> str:
        return node_names.take(next(filter(None, (_layer(path, layers) for path in paths)), ""), kind)

    renamed = {old: name([old], "kernel") for old in weights}
    for value in model.graph.input:
        value.name = renamed.get(value.name, value.name)
    new_names = dict(renamed)
    for node in model.graph.node:
        node.name = name([node.name, *node.output, *node.input[1:]], node.op_type)
        for index, output in enumerate(node.output):
            if output and output != LOGITS:
                new_names[output] = f"{node.name}:{index}"
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [new_names.get(old, old) for old in names]
    return {renamed[old]: handle for old, handle in weights.items()}


def _layer(name: str, layers: Collection[str]) -> str:
    """The innermost Keras layer in a node's path, MODEL/LAYER_1/OPERATOR; "" for none."""
    for scope in reversed(name.split("/")[:-1]):
        for candidate in (scope, re.sub(r"_\d+$", "", scope)):
            if candidate in layers:
                return candidate
    return ""


def _name_batch(model: ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        if value.name in (*_INPUTS, LOGITS):
            value.type.tensor_type.shape.dim[0].dim_param = BATCH
    _forget_shapes(model)  # with tf2onnx's own names of axes


def _forget_shapes(model: ModelProto) -> None:
    """Drops the shapes of what is between input and output: who needs them infers them."""
    del model.graph.value_info[:]


def _keep_standard_domain(model: ModelProto) -> None:
    """tf2onnx imports another one, which nothing uses."""
    for entry in [entry for entry in model.opset_import if entry.domain]:
        model.opset_import.remove(entry)


def _place_of_input(value: onnx.ValueInfoProto) -> int:
    return _INPUTS.index(value.name) if value.name in _INPUTS else len(_INPUTS)


def _save(model: ModelProto, weights: Weights, destination: Path) -> None:
    """Values go to the file one by one, from TensorFlow's memory."""
    data = destination.with_name(f"{destination.name}.data")
    kept = sorted((value for value in model.graph.input if value.name not in weights), key=_place_of_input)
    held = [value for value in model.graph.input if value.name in weights]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    with data.open("wb") as file:
        for value in held:
            kind = value.type.tensor_type.elem_type
            array = _value(weights[value.name], tf.dtypes.as_dtype(helper.tensor_dtype_to_np_dtype(kind))).numpy()
            tensor = TensorProto(name=value.name, data_type=kind, dims=array.shape, raw_data=b"")
            set_external_data(tensor, data.name, offset=file.tell(), length=array.nbytes)
            tensor.ClearField("raw_data")
            file.write(np.ascontiguousarray(array).data)
            model.graph.initializer.append(tensor)
    destination.write_bytes(model.SerializeToString())
