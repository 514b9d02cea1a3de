"""ONNX graphs made smaller and faster, with the same results: for all runtimes, for half precision, for onnxruntime.

Graphs come from the frameworks, so what is done here does not ask which one it was.
"""

import tempfile
from collections import Counter
from pathlib import Path

import onnx
import onnxruntime
import onnxslim
from onnx import ModelProto, TensorProto
from onnx_ir.passes.common import IdentityEliminationPass, RemoveUnusedNodesPass
from onnxruntime import GraphOptimizationLevel
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
from onnxscript import ir
from onnxscript.rewriter.pattern import OpsetPatternBuilder, RewriteRule, RewriteRuleSet, Var

from scenerec.errors import ModelError, first_line
from scenerec.export.graphs.fusions import fuse
from scenerec.export.graphs.network_graph import NodeNames, copy_of, is_kept_float, module_of

_ROUNDS = 4
_FLOAT16_MAX = 65504.0
_KEPT_FLOAT = ("Softmax", "LayerNormalization")
"""Operators that stay in float32: they add up many numbers, or exponentials."""


def clean(network: ModelProto) -> ModelProto:
    """Rewrites a network graph in fewer operators of the standard set, so that any runtime gains.

    Constants are folded (kernels into their final layout, shapes), BatchNorm and padding go into the convolutions,
    transposes meet and cancel (onnxruntime's basic level, onnxslim); see `fusions` for the rest. Nodes
    keep names of the form MODULE/OPERATOR.
    """
    model = onnxslim.slim(_optimized(copy_of(network), GraphOptimizationLevel.ORT_ENABLE_BASIC))
    for _ in range(_ROUNDS):  # fusions let transposes meet, and the other way round
        before = _operators(model)
        model = _optimized(fuse(model), GraphOptimizationLevel.ORT_ENABLE_BASIC)
        if _operators(model) == before:
            break
    model = fuse(model)  # onnxruntime took HardSwish apart
    _name_nodes(model, network)
    return model


def half(model: ModelProto) -> ModelProto:
    """Copies a model so that it computes in float16: half the size, and fast on GPUs (a CPU computes in float32).

    Inputs and outputs keep their types. Softmax, LayerNormalization, what `network_graph.complete` added, and what
    encodes coordinates stay in float32.
    """
    converted = convert_float_to_float16(
        copy_of(model),
        max_finite_val=_FLOAT16_MAX,
        keep_io_types=True,
        op_block_list=[*DEFAULT_OP_BLOCK_LIST, *_KEPT_FLOAT],
        node_block_list=[node.name for node in model.graph.node if is_kept_float(node)],
    )
    del converted.graph.value_info[:]  # of which some were float32
    return _without_round_trips(converted)


def offline(model: ModelProto, this_machine: bool = False) -> ModelProto:
    """Optimises a graph as onnxruntime's CPU provider does, so that a session opens without doing so again.

    It holds operators of onnxruntime's own (such as FusedConv), which no other runtime knows. With `this_machine` also
    layouts made for this machine's vector instructions, which run nowhere else as fast, or at all.
    """
    level = GraphOptimizationLevel.ORT_ENABLE_ALL if this_machine else GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    return _optimized(copy_of(model), level)


def _optimized(model: ModelProto, level: GraphOptimizationLevel) -> ModelProto:
    """Takes `model` apart. Weights go through files beside the graph, as protobuf ends at 2 GB."""
    properties = {entry.key: entry.value for entry in model.metadata_props}
    with tempfile.TemporaryDirectory(prefix="scenerec-optimize-") as temporary:
        before, after = Path(temporary) / "before.onnx", Path(temporary) / "after.onnx"
        onnx.save_model(model, before, save_as_external_data=True, location="before.data")
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        options.optimized_model_filepath = str(after)
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "after.data")
        options.log_severity_level = 4
        try:
            onnxruntime.InferenceSession(before, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has an error class for each of its codes
            raise ModelError(f"onnxruntime does not load the graph: {first_line(error)}") from None
        optimized = onnx.load(after)
    _keep_used_domains(optimized)
    onnx.helper.set_model_props(optimized, properties)
    return optimized


def _round_trip(op: OpsetPatternBuilder, x: Var) -> object:
    """What the conversion leaves between two operators that stay in float32."""
    return op.Cast(op.Cast(x, to=TensorProto.FLOAT16), to=TensorProto.FLOAT)


_ROUND_TRIPS = RewriteRuleSet([RewriteRule(_round_trip, lambda op, x: op.Identity(x), remove_nodes=False)])


def _without_round_trips(model: ModelProto) -> ModelProto:
    """Also in the order of computation: the conversion appends its casts."""
    editable = ir.from_proto(model)
    _ROUND_TRIPS.apply_to_model(editable)
    IdentityEliminationPass()(editable)
    RemoveUnusedNodesPass()(editable)
    editable.graph.sort()
    return ir.to_proto(editable)


def _keep_used_domains(model: ModelProto) -> None:
    """onnxruntime imports all that it knows."""
    used = {"", *(node.domain for node in model.graph.node)}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _operators(model: ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def _name_nodes(model: ModelProto, network: ModelProto) -> None:
    """MODULE/OPERATOR, after the modules of `network`: by the name of the node, else of what it computes."""
    modules = {output: module_of(node) for node in network.graph.node for output in node.output}
    known, names = set(modules.values()), NodeNames()
    for node in model.graph.node:
        module = module_of(node)
        if not module or module not in known:
            module = modules.get(node.output[0], "")
        node.name = names.take(module, node.op_type)
