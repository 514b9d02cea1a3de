"""Torch to ONNX, by torch.export. tf_onnx is the counterpart for TensorFlow."""

import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import torch
from onnx import ModelProto, ValueInfoProto
from torch import nn
from torch.onnx.errors import OnnxExporterError

from scenerec.errors import ModelError, first_line
from scenerec.export.graphs.network_graph import BATCH, LOGITS, PIXELS, PLACE_INPUTS, NodeNames, check_network

OPSETS = range(18, 24)
"""Operator sets that torch's exporter writes."""

_TRACED_BATCH = 2  # torch.export takes 0 and 1 for constants
_BATCH_AXIS = {0: torch.export.Dim(BATCH)}
_LOGGERS = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")
_MISSING_OPERATOR = re.compile(r"No ONNX function found for <OpOverload\(op='([\w.]+)', overload='(\w+)'\)>")


def convert(network: nn.Module, image_size: int, opset: int = 18, takes_coordinates: bool = False) -> ModelProto:
    """Converts a module to a network graph (see `network_graph`).

    Nodes are named MODULE/OPERATOR and weights by their `state_dict` names, so that the same module always gives the
    same bytes. BatchNorm is folded into convolutions. The module is left in evaluation mode.

    Args:
        network: float32 [batch, 3, image_size, image_size] -> float32 [batch, classes], on the CPU.
        image_size: in pixels.
        opset: one of OPSETS.
        takes_coordinates: whether it takes coordinates [batch, 3] and known [batch, 2] as well.

    Raises:
        ModelError: operators have no equivalent (the message names each, and the modules that use it), or the module
            cannot be traced, or is no classifier of images.
    """
    try:
        model = _exported(network, image_size, opset, takes_coordinates)
    except ModelError:
        with _plain_attention(network) as has_changed:
            if not has_changed:
                raise
            model = _exported(network, image_size, opset, takes_coordinates)
    _name_nodes(model)
    _strip(model)
    check_network(model)
    return model


def _exported(network: nn.Module, image_size: int, opset: int, takes_coordinates: bool) -> ModelProto:
    """What torch's exporter makes of the module. Raises ModelError."""
    program = trace(network, image_size, takes_coordinates)
    examples = _examples(image_size, takes_coordinates)
    with _silence():
        try:
            exported = torch.onnx.export(
                program,
                examples,
                input_names=[PIXELS, *(each.name for each in PLACE_INPUTS)][: len(examples)],
                output_names=[LOGITS],
                dynamic_shapes=(_BATCH_AXIS,) * len(examples),  # here for the axis' name alone
                opset_version=opset,
                dynamo=True,
                verbose=False,
            )
        except OnnxExporterError as error:
            raise _explain(program, error) from None
    assert exported is not None
    model: ModelProto = exported.model_proto
    return model


@contextmanager
def _plain_attention(network: nn.Module) -> Iterator[bool]:
    """timm's attention by products and a softmax in place of torch's own function; gives whether there is any.

    The exporter takes that function for no more than four axes (Hiera has five), and not where what it gives is then
    viewed in another order (MaxViT).
    """
    fused = [module for module in network.modules() if getattr(module, "fused_attn", False)]
    for module in fused:
        module.fused_attn = False
    try:
        yield bool(fused)
    finally:
        for module in fused:
            module.fused_attn = True


def trace(network: nn.Module, image_size: int, takes_coordinates: bool = False) -> torch.export.ExportedProgram:
    """Traces the module's operators in evaluation mode, for any batch size; arguments are those of `convert`.

    Raises ModelError where the module cannot be traced.
    """
    network.eval()
    examples = _examples(image_size, takes_coordinates)
    with _silence():
        try:
            return torch.export.export(network, examples, dynamic_shapes=(_BATCH_AXIS,) * len(examples))
        except Exception as error:  # torch.export has no class of its own, and the module runs code of anyone
            raise ModelError(
                f"{type(network).__name__} cannot be traced for [batch, 3, {image_size}, {image_size}]: "
                f"{first_line(error)}: make its forward free of branches on values and of fixed batch sizes"
            ) from None


def _examples(image_size: int, takes_coordinates: bool) -> tuple[torch.Tensor, ...]:
    shapes = [(3, image_size, image_size), *((3,), (2,)) * takes_coordinates]
    return tuple(torch.zeros(_TRACED_BATCH, *shape) for shape in shapes)


def _explain(program: torch.export.ExportedProgram, error: OnnxExporterError) -> ModelError:
    """One line for what the exporter spreads over pages."""
    reason: BaseException = error
    while reason.__cause__ is not None:
        reason = reason.__cause__
    found = _MISSING_OPERATOR.search(str(reason))
    if not found:
        return ModelError(f"torch.onnx.export failed: {first_line(reason)}")
    operator = ".".join(found.groups())
    users = sorted({_module_path(node) for node in _nodes_of(program, operator)})
    where = f" (in {', '.join(users)})" if users else ""
    return ModelError(f"ONNX has no equivalent of torch's {operator}{where}: replace it, or export another network")


def _nodes_of(program: torch.export.ExportedProgram, operator: str) -> Iterator[torch.fx.Node]:
    """Nodes that call `operator`: "prims.bessel_j0.default" is what becomes of "aten.special_bessel_j0.default"."""
    base = operator.split(".")[1]
    for node in program.run_decompositions().graph.nodes:
        if node.op == "call_function" and str(node.target).rpartition(".")[0].endswith(base):
            yield node


def _module_path(node: torch.fx.Node) -> str:
    stack = list(node.meta.get("nn_module_stack", {}).values())
    path, kind = stack[-1] if stack else ("", "")
    kind = kind if isinstance(kind, str) else kind.__qualname__
    return f"{path or 'the network itself'}: {kind.rpartition('.')[2]}"


def _name_nodes(model: ModelProto) -> None:
    """MODULE/OPERATOR, numbered where a module has several: torch's own names hold counters of the whole process."""
    weights = {tensor.name for tensor in model.graph.initializer}
    names = NodeNames()
    for node in model.graph.node:
        owners = [name.rpartition(".")[0] for name in node.input if name in weights and "." in name]
        scopes = next((entry.value for entry in node.metadata_props if entry.key.endswith("name_scopes")), "")
        # The weight tells the convolution that BatchNorm was folded into; the scope would name the BatchNorm.
        module = owners[0] if owners else _innermost(scopes)
        node.name = names.take(module, node.op_type)


def _innermost(scopes: str) -> str:
    """ "['', 'features', 'features.0', 'conv2d']" -> "features.0": the last scope is the call itself."""
    names = re.findall(r"'([^']*)'", scopes)
    return names[-2] if len(names) > 1 else ""


def _strip(model: ModelProto) -> None:
    """Without the exporter's notes, which hold paths of this machine."""
    graph = model.graph
    values: list[ValueInfoProto] = [*graph.input, *graph.output, *graph.value_info]
    for entry in (model, graph, *graph.node, *graph.initializer, *values):
        del entry.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""


@contextmanager
def _silence() -> Iterator[None]:
    """The exporter prints, warns and logs; what matters of that comes as an error."""
    disabled = {name: logging.getLogger(name).disabled for name in _LOGGERS}
    for name in _LOGGERS:
        logging.getLogger(name).disabled = True
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, before in disabled.items():
            logging.getLogger(name).disabled = before
