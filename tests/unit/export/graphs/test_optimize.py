"""Optimised graphs answer as the ones they come from."""

from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto
from torch import nn

from scenerec.export.conversion import torch_onnx
from scenerec.export.graphs import optimize
from scenerec.export.graphs.network_graph import check_network, complete, module_of
from scenerec.inference.bundles.info import Preprocessing
from scenerec.inference.predictors.onnx_predictor import open_session

SIZE = 16
PREPROCESSING = Preprocessing(image_size=SIZE, eval_crop_ratio=1.0)


class Small(nn.Module):
    """A convolution of each kind, an activation of each kind, and attention's operators."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish())
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.norm = nn.LayerNorm(8)
        self.mlp = nn.Sequential(nn.Linear(8, 8), nn.GELU())
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.depthwise(self.stem(x)).flatten(2).transpose(1, 2)
        tokens = self.mlp(self.norm(tokens))
        attention = torch.softmax(tokens @ tokens.transpose(1, 2), dim=-1)
        return self.head((attention @ tokens).mean(1))


@pytest.fixture(scope="module")
def network() -> ModelProto:
    torch.manual_seed(0)
    return torch_onnx.convert(Small(), SIZE)


@pytest.fixture(scope="module")
def model(network: ModelProto) -> ModelProto:
    return complete(optimize.clean(network), PREPROCESSING)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)


def test_a_clean_network_gives_the_same(network: ModelProto) -> None:
    before = network.SerializeToString()
    cleaned = optimize.clean(network)
    pixels = np.random.default_rng(0).normal(size=(3, 3, SIZE, SIZE)).astype(np.float32)
    np.testing.assert_allclose(
        open_session(cleaned.SerializeToString()).run(None, {"pixels": pixels})[0],
        open_session(before).run(None, {"pixels": pixels})[0],
        rtol=1e-5,
        atol=1e-5,
    )
    assert network.SerializeToString() == before


def test_a_clean_network_is_one_of_standard_operators_named_by_module(network: ModelProto) -> None:
    cleaned = optimize.clean(network)
    check_network(cleaned)
    onnx.checker.check_model(cleaned, full_check=True)
    assert {entry.domain for entry in cleaned.opset_import} == {""}
    names = [node.name for node in cleaned.graph.node]
    assert len(set(names)) == len(names)
    operators = {(module_of(node), node.op_type) for node in cleaned.graph.node}
    assert {("stem.0", "Conv"), ("stem.2", "HardSwish"), ("depthwise.0", "Conv"), ("head", "Gemm")} <= operators
    assert not {"BatchNormalization", "Shape", "Constant"} & {operator for _, operator in operators}


def test_metadata_outlives_cleaning(network: ModelProto) -> None:
    noted = ModelProto()
    noted.CopyFrom(network)
    onnx.helper.set_model_props(noted, {"key": "value"})
    assert [(entry.key, entry.value) for entry in optimize.clean(noted).metadata_props] == [("key", "value")]


def test_half_precision_keeps_inputs_outputs_and_what_needs_range(model: ModelProto, images: np.ndarray) -> None:
    halved = optimize.half(model)
    onnx.checker.check_model(halved, full_check=True)
    types = Counter(tensor.data_type for tensor in halved.graph.initializer)
    assert types[onnx.TensorProto.FLOAT16] >= 8
    assert [(value.name, value.type) for value in (*halved.graph.input, *halved.graph.output)] == [
        (value.name, value.type) for value in (*model.graph.input, *model.graph.output)
    ]
    inferred = onnx.shape_inference.infer_shapes(halved)
    kinds = {
        value.name: value.type.tensor_type.elem_type for value in (*inferred.graph.value_info, *inferred.graph.output)
    }
    kept = [node for node in inferred.graph.node if node.op_type in ("Softmax", "LayerNormalization", "Sub")]
    assert [kinds[node.output[0]] for node in kept] == [onnx.TensorProto.FLOAT] * 4
    probabilities, logits = open_session(halved.SerializeToString()).run(None, {"images": images})
    expected_probabilities, expected = open_session(model.SerializeToString()).run(None, {"images": images})
    np.testing.assert_allclose(logits, expected, atol=3e-3)
    np.testing.assert_allclose(probabilities, expected_probabilities, atol=1e-3)


@pytest.mark.parametrize("this_machine", [False, True])
def test_onnxruntimes_own_form_gives_the_same(model: ModelProto, images: np.ndarray, this_machine: bool) -> None:
    ready = optimize.offline(model, this_machine)
    domains = {node.domain for node in ready.graph.node}
    assert "com.microsoft" in domains
    assert ("com.microsoft.nchwc" in domains) <= this_machine
    answers = [open_session(one.SerializeToString()).run(None, {"images": images}) for one in (ready, model)]
    for answer, expected in zip(*answers, strict=True):
        np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-5)
