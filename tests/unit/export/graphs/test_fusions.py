"""Each fusion gives what its operators gave, and leaves alone what only looks like it."""

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import ModelProto, parser

from scenerec.export.graphs.fusions import fuse
from scenerec.export.graphs.network_graph import module_of
from scenerec.inference.predictors.onnx_predictor import open_session

GATE = """
    three = Constant<value = float[1] {3.0}>()
    low = Constant<value = float {0.0}>()
    high = Constant<value = float {6.0}>()
    raised = Add(x, three)
    clipped = Clip(raised, low, high)
"""
HARD_SIGMOID = GATE + "sixth = Constant<value = float[1] {0.16666667}>()\n y = Mul(clipped, sixth)"
HARD_SWISH = GATE + "sixth = Constant<value = float {0.16666667}>()\n gate = Mul(sixth, clipped)\n y = Mul(gate, x)"
OTHER_GATE = HARD_SIGMOID.replace("{6.0}", "{5.0}")
GELU = """
    half = Constant<value = float[1] {0.5}>()
    root = Constant<value = float[1] {0.70710677}>()
    one = Constant<value = float[1] {1.0}>()
    halved = Mul(half, x)
    negated = Neg(x)
    argument = Mul(negated, root)
    erf = Erf(argument)
    erfc = Sub(one, erf)
    y = Mul(halved, erfc)
"""
MOMENTS = """
    axis = Constant<value = int64[1] {-1}>()
    epsilon = Constant<value = float[1] {0.001}>()
    scale = Constant<value = float[1, 1, 4] {1.0, -2.0, 0.5, 3.0}>()
    mean = ReduceMean(x, axis)
    deviation = Sub(x, mean)
    squared = Mul(deviation, deviation)
    variance = ReduceMean(squared, axis)
    stabilised = Add(variance, epsilon)
    root = Sqrt(stabilised)
    inverse = Reciprocal(root)
    s = Mul(inverse, scale)
    negated = Neg(mean)
    scaled = Mul(x, s)
    offset = Mul(negated, s)
"""
UNBIASED = MOMENTS + "y = Add(scaled, offset)"
BIASED = (
    MOMENTS
    + "bias = Constant<value = float[4] {0.1, 0.2, 0.3, 0.4}>()"
    + "shifted = Add(offset, bias)"
    + "y = Add(scaled, shifted)"
)
OVER_CHANNELS = BIASED.replace("{-1}", "{1}").replace("[1, 1, 4]", "[1, 4, 1, 1]").replace("[4]", "[1, 4, 1, 1]")
OTHER_AXIS = UNBIASED.replace("{-1}", "{1}")
SHUFFLE = """
    split = Constant<value = int64[5] {-1, 2, 3, 2, 2}>()
    merged = Constant<value = int64[4] {-1, 2, 3, 4}>()
    nhwc = Transpose<perm = [0, 2, 3, 1]>(x)
    groups = Reshape(nhwc, split)
    swapped = Transpose<perm = [0, 1, 2, 4, 3]>(groups)
    y = Reshape(swapped, merged)
"""
OTHER_SHUFFLE = SHUFFLE.replace("{-1, 2, 3, 4}", "{-1, 3, 2, 4}")
POOL = """
    amounts = Constant<value = int64[8] {0, 0, 1, 0, 0, 0, 1, 2}>()
    positive = Relu(x)
    padded = Pad(positive, amounts)
    y = MaxPool<kernel_shape = [3, 3], strides = [2, 2]>(padded)
"""
LATER_POOL = POOL.replace("padded = Pad(positive", "both = Concat<axis = 1>(positive, positive)\n padded = Pad(both")
UNLIMITED_POOL = POOL.replace("Relu", "Neg")
WIDE_POOL = POOL.replace("{0, 0, 1, 0, 0, 0, 1, 2}", "{0, 0, 1, 0, 0, 0, 1, 3}")

VECTORS, IMAGES = (5, 4), (4, 2, 3)

FUSED = {
    "hard-sigmoid": (HARD_SIGMOID, VECTORS, {"HardSigmoid": 1}),
    "hard-swish": (HARD_SWISH, VECTORS, {"HardSwish": 1}),
    "gelu": (GELU, VECTORS, {"Div": 1, "Erf": 1, "Add": 1, "Mul": 2}),
    "layer-normalization": (BIASED, VECTORS, {"LayerNormalization": 1}),
    "unbiased layer-normalization": (UNBIASED, VECTORS, {"LayerNormalization": 1}),
    "layer-normalization of channels": (OVER_CHANNELS, IMAGES, {"Transpose": 2, "LayerNormalization": 1}),
    "channel shuffle": (SHUFFLE, IMAGES, {"Reshape": 2, "Transpose": 2}),
    "padded max-pool": (POOL, IMAGES, {"Relu": 1, "MaxPool": 1}),
    "padded max-pool of several": (LATER_POOL, IMAGES, {"Relu": 1, "Concat": 1, "MaxPool": 1}),
}
LEFT = {
    "another gate": (OTHER_GATE, VECTORS),
    "moments over another axis": (OTHER_AXIS, VECTORS),
    "a shuffle of more than channels": (OTHER_SHUFFLE, IMAGES),
    "padding that may win": (UNLIMITED_POOL, IMAGES),
    "padding as wide as a window": (WIDE_POOL, IMAGES),
}


@pytest.mark.parametrize(("body", "shape", "operators"), FUSED.values(), ids=FUSED)
def test_a_fusion_gives_the_same(body: str, shape: tuple[int, ...], operators: dict[str, int]) -> None:
    model = make_model(body, shape)
    fused = fuse(model)
    assert _operators(fused) == operators
    x = np.random.default_rng(0).normal(size=(2, *shape), scale=3).astype(np.float32)
    np.testing.assert_allclose(run(fused, x), run(model, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("body", "shape"), LEFT.values(), ids=LEFT)
def test_what_only_looks_like_it_is_left(body: str, shape: tuple[int, ...]) -> None:
    model = make_model(body, shape)
    assert _operators(fuse(model)) == _operators(model)


def test_fused_nodes_keep_their_module() -> None:
    (node,) = [node for node in fuse(make_model(HARD_SWISH, VECTORS)).graph.node if node.op_type == "HardSwish"]
    assert module_of(node) == "block.1"


def make_model(body: str, shape: tuple[int, ...]) -> ModelProto:
    """float32 x [batch, *shape] -> y, by the operators of `body`, of the module block.1."""
    known = ", ".join(map(str, shape))
    unknown = ", ".join("abc"[: len(shape)])
    signature = f"(float[batch, {known}] x) => (float[batch, {unknown}] y)"
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> graph {signature} {{ {body} }}')
    for index, node in enumerate(model.graph.node):
        node.name = f"block.1/{node.op_type}_{index}"
    onnx.checker.check_model(model)
    return model


def run(model: ModelProto, x: np.ndarray) -> np.ndarray:
    return np.asarray(open_session(model.SerializeToString()).run(None, {"x": x})[0])


def _operators(model: ModelProto) -> dict[str, int]:
    return dict(Counter(node.op_type for node in model.graph.node if node.op_type != "Constant"))
