"""Which nodes of a graph each execution provider of onnxruntime takes, and which ones fall back to the CPU.

An estimate from the documented tables, without the hardware. Sources, as of October 2026:
CUDA: docs/OperatorKernels.md of microsoft/onnxruntime. TensorRT: docs/operators.md of onnx/onnx-tensorrt (TensorRT 10).
OpenVINO, XNNPACK, QNN: onnxruntime.ai/docs/execution-providers, "Support Coverage", "Supported ops", "Supported ONNX
operators". CoreML: tools/ci_build/github/apple/coreml_supported_mlprogram_ops.md of microsoft/onnxruntime (ML Program).
The tables name the operators that image classifiers use; those of control flow, sequences and strings are left out.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from onnx import ModelProto, NodeProto

from scenerec.export.graphs.network_graph import BATCH, axes, module_of


@dataclass(frozen=True)
class Provider:
    """An execution provider of onnxruntime, and what it takes."""

    name: str
    """Name of the provider in onnxruntime, without ExecutionProvider."""
    operators: frozenset[str] | None
    """Standard operators that the provider takes; None for all."""
    contrib: frozenset[str] = frozenset()
    """Operators of the domain com.microsoft that the provider takes."""
    fixed_shapes: bool = False
    """Whether the provider takes nothing of a graph with an open batch axis."""
    bytes_in: bool = True
    """Whether the provider takes nodes whose input is the uint8 image."""
    note: str = ""
    """What else decides, for people."""


@dataclass(frozen=True)
class FallBack:
    """Nodes of one operator that a provider leaves to the CPU."""

    operator: str
    """Name of the operator."""
    nodes: int
    """How many of the operator's nodes fall back."""
    modules: tuple[str, ...]
    """Paths of the modules that the nodes come from, in order."""


@dataclass(frozen=True)
class Support:
    """What a provider makes of a graph."""

    provider: str
    """Name of the provider."""
    nodes: int
    """How many nodes the graph has, constants left out."""
    taken: int
    """How many of the nodes the provider takes."""
    fall_back: tuple[FallBack, ...]
    """Nodes that the provider leaves to the CPU, the most frequent operator first."""
    note: str
    """What else decides, for people."""

    @property
    def share(self) -> float:
        """Share of the nodes that the provider takes."""
        return self.taken / self.nodes if self.nodes else 1.0


def support(model: ModelProto) -> tuple[Support, ...]:
    """Estimates what each provider makes of `model`."""
    return tuple(_support(provider, model) for provider in PROVIDERS)


def _support(provider: Provider, model: ModelProto) -> Support:
    nodes = [node for node in model.graph.node if node.op_type != "Constant"]
    if provider.fixed_shapes and any(BATCH in axes(value) for value in model.graph.input):
        note = "needs fixed shapes: export with --target npu"
        return Support(provider.name, len(nodes), 0, _grouped(nodes), note)
    bytes_in = {value.name for value in model.graph.input if value.type.tensor_type.elem_type == _UINT8}
    left = [node for node in nodes if not _takes(provider, node, bytes_in)]
    return Support(provider.name, len(nodes), len(nodes) - len(left), _grouped(left), provider.note)


def _takes(provider: Provider, node: NodeProto, bytes_in: set[str]) -> bool:
    if provider.operators is None:
        return True
    if not provider.bytes_in and bytes_in.intersection(node.input):
        return False
    if node.domain == "com.microsoft":
        return node.op_type in provider.contrib
    parts = _EXPANDED.get(node.op_type, ())
    return node.op_type in provider.operators or (bool(parts) and provider.operators.issuperset(parts))


def _grouped(nodes: Iterable[NodeProto]) -> tuple[FallBack, ...]:
    nodes = list(nodes)
    counts = Counter(node.op_type for node in nodes)
    return tuple(
        FallBack(operator, count, tuple(dict.fromkeys(module_of(node) for node in nodes if node.op_type == operator)))
        for operator, count in counts.most_common()
    )


_UINT8 = 2  # TensorProto.UINT8

# onnxruntime inlines these functions where no provider has a kernel.
_EXPANDED = {"HardSwish": ("HardSigmoid", "Mul")}

_ELEMENTWISE = """
    Abs Add And Cast Ceil Clip Cos Div Elu Equal Erf Exp Floor Greater GreaterOrEqual HardSigmoid Identity LeakyRelu
    Less LessOrEqual Log Max Min Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Sigmoid Sign Sin Softplus Softsign
    Sqrt Sub Tanh Where Xor
"""
_SHAPES = """
    Concat ConstantOfShape DepthToSpace Expand Flatten Gather GatherElements GatherND Pad Reshape Resize ScatterElements
    ScatterND Shape Size Slice SpaceToDepth Split Squeeze Tile Transpose Unsqueeze
"""
_NETWORK = """
    ArgMax ArgMin AveragePool BatchNormalization Conv ConvTranspose CumSum Dropout Einsum Gemm GlobalAveragePool
    GlobalMaxPool InstanceNormalization LRN LogSoftmax MatMul MaxPool OneHot Range ReduceL1 ReduceL2 ReduceLogSum
    ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Softmax TopK
    QuantizeLinear DequantizeLinear
"""


def _operators(*lists: str, without: str = "") -> frozenset[str]:
    return frozenset(" ".join(lists).split()) - frozenset(without.split())


PROVIDERS = (
    Provider("CPU", None, note="the gate ran it here"),
    Provider(
        "CUDA",
        _operators(_ELEMENTWISE, _SHAPES, _NETWORK, "Gelu HardSwish LayerNormalization"),
        contrib=frozenset({"BiasGelu", "FastGelu", "FusedConv", "FusedMatMul", "Gelu", "MatMulNBits", "QuickGelu"}),
        note="shapes are computed on the CPU",
    ),
    Provider(
        "TensorRT",
        _operators(_ELEMENTWISE, _SHAPES, _NETWORK, "Celu Gelu HardSwish LayerNormalization Mish"),
        note="int8 by symmetric QuantizeLinear only",
    ),
    Provider(
        "OpenVINO",
        _operators(_ELEMENTWISE, _SHAPES, _NETWORK, "Celu QLinearMatMul MatMulInteger", without="GatherElements"),
        note="of Intel's CPUs and GPUs",
    ),
    Provider(
        "CoreML",
        _operators(
            """
            Add ArgMax AveragePool Cast Ceil Clip Concat Conv ConvTranspose Cos DepthToSpace Div Elu Erf Exp GatherND
            Gelu Gemm GlobalAveragePool GlobalMaxPool HardSigmoid Identity InstanceNormalization LayerNormalization
            LeakyRelu MatMul Max MaxPool Mul PRelu Pow Range Reciprocal ReduceMax ReduceMean ReduceSum Relu Reshape
            Resize Round Shape Sigmoid Sin Slice Softmax Softplus Split Sqrt Squeeze Sub Tanh Tile Transpose Unsqueeze
            """
        ),
        contrib=frozenset({"FusedConv", "QuickGelu"}),
        bytes_in=False,
        note="as ML Program; the Neural Engine wants fixed shapes",
    ),
    Provider(
        "QNN",
        _operators(
            """
            Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast Clip Concat Conv ConvTranspose Cos
            DepthToSpace DequantizeLinear Div Elu Equal Exp Expand Flatten Floor Gather Gelu Gemm GlobalAveragePool
            Greater GreaterOrEqual HardSigmoid HardSwish InstanceNormalization LRN LayerNormalization LeakyRelu Less
            LessOrEqual Log LogSoftmax MatMul Max MaxPool Min Mul Neg Not Or PRelu Pad Pow QuantizeLinear ReduceMax
            ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape Resize Round Sigmoid Sign Sin Slice Softmax
            SpaceToDepth Split Sqrt Squeeze Sub Tanh Tile TopK Transpose Unsqueeze Where
            """
        ),
        contrib=frozenset({"DequantizeLinear", "Gelu", "QuantizeLinear"}),
        fixed_shapes=True,
        note="float32 runs as fp16 on the NPU",
    ),
    Provider(
        "XNNPACK",
        frozenset(
            {"AveragePool", "Conv", "ConvTranspose", "Gemm", "MatMul", "MaxPool", "QLinearConv", "Resize", "Softmax"}
        ),
        contrib=frozenset({"QLinearAveragePool", "QLinearSoftmax"}),
        note="takes the heavy ones; ReLU and Clip are fused into convolutions",
    ),
)
"""Every provider that is estimated."""
