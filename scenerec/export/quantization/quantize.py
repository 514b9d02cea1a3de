"""A graph in float32 becomes one in int8: by a recipe, with onnxruntime's quantiser."""

import platform
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, numpy_helper, shape_inference
from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.calibrate import save_tensors_data
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from scenerec.export.graphs.network_graph import OWN_PREFIX, is_kept_float
from scenerec.export.quantization.calibration import Calibration, Method

LAYERS = ("Conv", "Gemm", "MatMul")
"""Operators with weights, which take nearly all of a network's time."""

OPERATORS = (
    *LAYERS,
    *("Add", "Mul", "Concat", "Relu", "Clip", "LeakyRelu", "Sigmoid", "Split", "Pad"),
    *("MaxPool", "AveragePool", "GlobalAveragePool", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"),
)
"""What onnxruntime's CPU kernels compute in int8, or need not compute at all. Softmax and norms stay in float32."""

Scope = Literal["all", "all-but-stem", "layers-10k", "layers-50k"]
"""Which operators are quantised: all OPERATORS; all but the first convolution; only LAYERS of so many weights.

Where an activation function keeps its inputs in float32 (hard-swish has no int8 kernel), every layer before it pays
for a way there and back, and float32 convolutions have the function built in: then only large layers are worth it.
"""

_FEWEST_WEIGHTS: dict[Scope, int] = {"layers-10k": 10_000, "layers-50k": 50_000}


@dataclass(frozen=True)
class Recipe:
    """How a graph is quantised. Weights are int8 and symmetric."""

    kind: Literal["static", "dynamic"] = "static"
    """Whether activations' ranges are calibrated (static), or found anew at each call (dynamic: for layers only)."""
    scope: Scope = "all"
    """Which operators are quantised."""
    per_channel: bool = True
    """Whether each output channel's weights have a scale of their own."""
    activations: Literal["uint8", "int8"] = "uint8"
    """Type of the activations."""
    symmetric: bool = False
    """Whether the activations' zero point is the middle of their range; for int8 it always is."""
    method: Method = "minmax"
    """How the activations' ranges are found."""
    float_layers: tuple[str, ...] = ()
    """Names of layers that stay in float32."""

    @property
    def is_symmetric(self) -> bool:
        """Whether the activations' zero point is the middle of their range."""
        return self.symmetric or self.activations == "int8"

    def __str__(self) -> str:
        parts = [self.kind, self.scope, "per channel" if self.per_channel else "per tensor"]
        if self.kind == "static":
            parts.append(f"{'symmetric ' if self.is_symmetric else ''}{self.activations}")
            parts.append("min-max" if self.method == "minmax" else f"{self.method} %")
        if self.float_layers:
            parts.append(f"{len(self.float_layers)} layers in fp32")
        return ", ".join(parts)


def prepare(model: ModelProto) -> ModelProto:
    """Copies a model for `quantize`: nodes are named, shapes inferred, means over an image written as pooling."""
    prepared = shape_inference.infer_shapes(model)
    initializers = {tensor.name: tensor for tensor in prepared.graph.initializer}
    images = {value.name for value in prepared.graph.value_info if len(value.type.tensor_type.shape.dim) == 4}
    for index, node in enumerate(prepared.graph.node):
        node.name = node.name or f"unnamed.{node.op_type}.{index}"
        if node.input and node.input[0] in images and _is_image_mean(node, initializers):
            node.op_type = "GlobalAveragePool"  # which has an int8 kernel
            del node.input[1:], node.attribute[:]
    _drop_unused(prepared)
    add_pre_process_metadata(prepared)
    return prepared


def layers(model: ModelProto) -> dict[str, int]:
    """Counts the weights of each layer whose weights are constant, by name and in order."""
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    return {
        node.name: sizes[node.input[1]]
        for node in model.graph.node
        if node.op_type in LAYERS and not is_kept_float(node) and node.input[1] in sizes
    }


def chosen(model: ModelProto, recipe: Recipe) -> list[str]:
    """Names the nodes that the recipe quantises."""
    weights = layers(model)
    if recipe.kind == "dynamic" or recipe.scope in _FEWEST_WEIGHTS:
        fewest = _FEWEST_WEIGHTS.get(recipe.scope, 0)
        names = [name for name, count in weights.items() if count >= fewest]
        if recipe.kind == "dynamic":
            convolutions = {node.name for node in model.graph.node if node.op_type == "Conv"}
            names = [name for name in names if name not in convolutions]
    else:
        own = [node for node in model.graph.node if not is_kept_float(node)]
        names = [node.name for node in own if node.op_type in OPERATORS]
        if recipe.scope == "all-but-stem":
            stem = next((node.name for node in own if node.op_type == "Conv"), None)
            names = [name for name in names if name != stem]
    return [name for name in names if name not in recipe.float_layers]


def quantize(calibration: Calibration, recipe: Recipe, only: Collection[str] | None = None) -> ModelProto:
    """Quantises the calibration's graph, which `prepare` made, by `recipe`.

    Args:
        calibration: the graph, and images for a static recipe.
        recipe: how.
        only: of the nodes that the recipe quantises, these.
    """
    names = [name for name in chosen(calibration.model, recipe) if only is None or name in only]
    if not names:
        return calibration.model  # to the quantiser an empty list means all
    with tempfile.TemporaryDirectory(prefix="scenerec-int8-") as folder:
        path = Path(folder) / "model.onnx"
        if recipe.kind == "dynamic":
            _quantize_dynamic(calibration.model, path, recipe, names)
        else:
            _quantize_static(calibration, path, recipe, names)
        return onnx.load(path)


def has_int8_dot_products() -> bool:
    """Whether this machine multiplies uint8 by int8 without loss (x86's VNNI or AMX; every ARM kernel does).

    Without them x86 adds pairs of products in 16 bits, which overflow unless the weights have only 7 bits.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    except OSError:
        return False
    return any(flag in flags for flag in ("avx512_vnni", "avx_vnni", "amx_int8"))


def _quantize_static(calibration: Calibration, path: Path, recipe: Recipe, names: list[str]) -> None:
    ranges = path.with_name("ranges.json")
    save_tensors_data(calibration.ranges(recipe.method), ranges)
    quantize_static(
        calibration.model,
        path,
        None,
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(OPERATORS),
        per_channel=recipe.per_channel,
        reduce_range=not has_int8_dot_products(),
        activation_type=QuantType.QInt8 if recipe.activations == "int8" else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_quantize=names,
        calibrate_method=calibration.ranges(recipe.method).calibration_method,
        extra_options={"ActivationSymmetric": recipe.is_symmetric},
        calibration_cache_path=ranges,
    )


def _quantize_dynamic(model: ModelProto, path: Path, recipe: Recipe, names: list[str]) -> None:
    quantize_dynamic(
        model,
        path,
        op_types_to_quantize=["MatMul"],
        per_channel=recipe.per_channel,
        reduce_range=not has_int8_dot_products(),
        weight_type=QuantType.QInt8,
        # A Gemm becomes a MatMul of this name before any node is quantised.
        nodes_to_quantize=[*names, *(f"{name}_MatMul" for name in names)],
    )


def _is_image_mean(node: NodeProto, initializers: dict[str, onnx.TensorProto]) -> bool:
    """Over height and width of [batch, channels, height, width], which it keeps as axes of length 1."""
    if node.op_type != "ReduceMean" or node.name.startswith(OWN_PREFIX):
        return False
    options = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    axes = options.get("axes", [])
    if len(node.input) > 1 and node.input[1] in initializers:
        axes = numpy_helper.to_array(initializers[node.input[1]]).tolist()
    return options.get("keepdims", 1) == 1 and sorted(axes) in ([-2, -1], [2, 3])


def _drop_unused(model: ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    if len(kept) < len(model.graph.initializer):
        del model.graph.initializer[:]
        model.graph.initializer.extend(kept)
