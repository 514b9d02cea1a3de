"""Small torch modules as ONNX graphs."""

import numpy as np
import onnx
import pytest
import torch
from timm.models.hiera import MaskUnitAttention
from torch import nn

from scenerec.errors import ModelError
from scenerec.export.conversion import torch_onnx
from scenerec.export.graphs import network_graph
from scenerec.inference.predictors.onnx_predictor import open_session


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x)).relu()


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = Block()
        self.head = nn.Linear(4, 5)
        nn.init.uniform_(self.block.norm.running_var, 0.5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(x).mean(dim=(2, 3)))


class Windows(nn.Module):
    """Attention within windows, of five axes."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 4, 1)
        self.attention = MaskUnitAttention(4, 4, heads=2, window_size=16, use_mask_unit_attn=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(self.patches(x).flatten(2).transpose(1, 2)).mean(dim=1)


class Bessel(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(x)


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3)) if x.sum() > 0 else x.amax(dim=(2, 3))


class Sequence(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(2)


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return Network()


@pytest.mark.slow
def test_a_module_becomes_a_network_graph(network: Network, capfd: pytest.CaptureFixture[str]) -> None:
    model = torch_onnx.convert(network, image_size=8)
    assert capfd.readouterr() == ("", ""), "the exporter is silent"
    network_graph.check_network(model)
    onnx.checker.check_model(model, full_check=True)
    assert network_graph.opset_of(model) == 18
    session = open_session(model.SerializeToString())
    for batch in (1, 3, 32):
        pixels = np.random.default_rng(batch).normal(size=(batch, 3, 8, 8)).astype(np.float32)
        with torch.no_grad():
            expected = network(torch.from_numpy(pixels)).numpy()
        np.testing.assert_allclose(session.run(None, {"pixels": pixels})[0], expected, rtol=1e-4, atol=1e-6)
    by_operator = {node.op_type: node.name for node in model.graph.node}
    assert by_operator["Conv"] == "block.conv/Conv", "BatchNorm is folded into it"
    assert by_operator["Gemm"] == "head/Gemm"
    assert {"head.weight", "head.bias"} <= {tensor.name for tensor in model.graph.initializer}
    assert "site-packages" not in str(model), "no path of this machine"
    again = torch_onnx.convert(network, image_size=8)
    assert again.SerializeToString(deterministic=True) == model.SerializeToString(deterministic=True)


@pytest.mark.slow
def test_attention_that_the_exporter_does_not_take_is_written_out() -> None:
    network = Windows()
    model = torch_onnx.convert(network, image_size=8)
    assert network.attention.fused_attn, "the module is as it was"
    pixels = np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(pixels)).numpy()
    (logits,) = open_session(model.SerializeToString()).run(None, {"pixels": pixels})
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_an_unsupported_operator_is_named_with_its_module() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2), nn.Sequential(Bessel()))
    with pytest.raises(ModelError, match=r"bessel_j0.* \(in 2\.0: Bessel\)") as raised:
        torch_onnx.convert(network, image_size=8)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (Branching(), r"Branching cannot be traced for \[batch, 3, 8, 8\]: .*branches on values"),
        (nn.Linear(3, 2), "Linear cannot be traced"),
    ],
)
def test_what_cannot_be_traced_is_refused_in_one_line(module: nn.Module, reason: str) -> None:
    with pytest.raises(ModelError, match=reason) as raised:
        torch_onnx.trace(module, image_size=8)
    assert "\n" not in str(raised.value)


def test_what_is_no_classifier_is_refused() -> None:
    with pytest.raises(ModelError, match=r"give logits float32 \[batch, classes\]; it has .* \[batch, 3, 64\]"):
        torch_onnx.convert(Sequence(), image_size=8)
