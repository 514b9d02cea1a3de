"""Which nodes a provider takes: by operator, domain, shapes and types."""

import pytest
from onnx import ModelProto, helper

from scenerec.export.graphs import network_graph
from scenerec.export.graphs.providers import PROVIDERS, Support, support
from tests.tiny_network import tiny_graph


def of(provider: str, model: ModelProto) -> Support:
    return next(each for each in support(model) if each.provider == provider)


def with_node(operator: str, name: str, domain: str = "") -> ModelProto:
    model = tiny_graph()
    model.graph.node.append(helper.make_node(operator, ["pixels"], [f"{name}.out"], name=name, domain=domain))
    return model


def test_the_tables_are_those_that_are_asked_for() -> None:
    assert [provider.name for provider in PROVIDERS] == [
        *("CPU", "CUDA", "TensorRT", "OpenVINO", "CoreML", "QNN", "XNNPACK")
    ]


def test_every_node_is_taken_or_left() -> None:
    for each in support(tiny_graph()):
        assert each.taken + sum(left.nodes for left in each.fall_back) == each.nodes == 7
        assert 0 <= each.share <= 1


def test_the_cpu_takes_everything() -> None:
    assert of("CPU", with_node("Anything", "x/Anything", "own.domain")).fall_back == ()


def test_what_falls_back_is_told_with_its_modules() -> None:
    model = with_node("NonZero", "features.3.mask/NonZero")
    model.graph.node.append(helper.make_node("NonZero", ["pixels"], ["z"], name="features.4.mask/NonZero"))
    (left,) = of("CUDA", model).fall_back
    assert (left.operator, left.nodes, left.modules) == ("NonZero", 2, ("features.3.mask", "features.4.mask"))


def test_qnn_takes_nothing_with_an_open_batch_axis() -> None:
    opened, fixed = of("QNN", tiny_graph()), of("QNN", network_graph.fix_batch(tiny_graph(), 1))
    assert opened.taken == 0
    assert "--target npu" in opened.note
    assert fixed.share == 1


def test_coreml_leaves_the_bytes_to_the_cpu() -> None:
    assert [left.operator for left in of("CoreML", tiny_graph()).fall_back] == ["Cast", "Flatten"]
    assert [left.operator for left in of("CoreML", tiny_graph(in_graph=False)).fall_back] == ["Flatten"]


def test_xnnpack_takes_the_heavy_ones_only() -> None:
    left = {each.operator for each in of("XNNPACK", with_node("Conv", "c/Conv")).fall_back}
    assert "Conv" not in left
    assert {"Mul", "Transpose"} <= left


@pytest.mark.parametrize(("provider", "taken"), [("CUDA", True), ("QNN", True), ("OpenVINO", True), ("XNNPACK", False)])
def test_hard_swish_is_inlined_where_there_is_no_kernel(provider: str, taken: bool) -> None:
    model = network_graph.fix_batch(with_node("HardSwish", "act/HardSwish"), 1)
    assert ("HardSwish" in {left.operator for left in of(provider, model).fall_back}) != taken


def test_fused_nodes_of_onnxruntime_count_by_their_own_table() -> None:
    model = with_node("FusedConv", "c/FusedConv", "com.microsoft")
    left = {each.provider: {left.operator for left in each.fall_back} for each in support(model)}
    assert "FusedConv" not in left["CUDA"] | left["CoreML"]
    assert "FusedConv" in left["TensorRT"] & left["OpenVINO"]
