"""Heat maps of small graphs whose answers are known, and of networks as the project exports them."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import nn
from torchvision.models.mobilenetv3 import InvertedResidualConfig

from scenerec.errors import BundleError
from scenerec.export.conversion import torch_onnx
from scenerec.export.graphs import network_graph, optimize
from scenerec.export.quantization.calibration import Calibration
from scenerec.export.quantization.quantize import OPERATORS, Recipe, prepare, quantize
from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.bundles.info import Preprocessing
from scenerec.inference.explain.cam import ActivationMapper, NoHeatMapError, explains
from scenerec.inference.predictors.onnx_predictor import OnnxPredictor
from tests.tiny_bundle import make_tiny_bundle
from tests.tiny_network import info_of, random_images, tiny_graph
from tests.unit.export.colour_network import colour_model
from tests.unit.export.colour_network import random_images as random_colours

RED, GREEN, BLUE = range(3)


def bundle_of(model: ModelProto, folder: Path, largest_bytes: int = network_graph.PROTOBUF_BYTES) -> Bundle:
    """As `open_bundle` would give it."""
    folder.mkdir(exist_ok=True)
    network_graph.save(model, folder, largest_bytes)
    size, in_graph = network_graph.axes(model.graph.input[0])[2], model.graph.input[0].name == network_graph.IMAGES
    preprocessing = Preprocessing(image_size=int(size), eval_crop_ratio=0.875, in_graph=in_graph)
    return Bundle(folder, info_of(model, in_graph).model_copy(update={"preprocessing": preprocessing}), str(folder))


def exported(network: nn.Module, size: int) -> ModelProto:
    """As `scenerec export` makes it."""
    cleaned = optimize.clean(torch_onnx.convert(network, size))
    return network_graph.complete(cleaned, Preprocessing(image_size=size, eval_crop_ratio=0.875))


def with_corner(size: int, colour: int) -> np.ndarray:
    """Grey, with a corner that has more of a colour: uint8 [size, size, 3]."""
    image = np.full((size, size, 3), 100, np.uint8)
    image[: size // 4, -(size // 4) :, colour] = 250
    return image


# Graphs by hand


@pytest.mark.parametrize("in_graph", [True, False])
@pytest.mark.parametrize("batch", [None, 1, 3])
def test_a_corner_lights_up_for_its_class_alone(tmp_path: Path, in_graph: bool, batch: int | None) -> None:
    model = tiny_graph(in_graph)
    bundle = bundle_of(network_graph.fix_batch(model, batch) if batch else model, tmp_path)
    assert explains(bundle.model_file)
    mapper, image = ActivationMapper(bundle), with_corner(8, GREEN)
    expected = np.zeros((8, 8), np.float32)
    expected[:2, -2:] = 1
    found = mapper.heat_map(image, GREEN)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    for other in (RED, BLUE):
        np.testing.assert_array_equal(mapper.heat_map(image, other), np.zeros((8, 8), np.float32))


def test_channels_may_come_last(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle")
    assert explains(bundle.model_file)
    image = random_images(1)[0]
    levels = image[..., BLUE].astype(np.float32)
    expected = (levels - levels.min()) / (levels.max() - levels.min())
    np.testing.assert_allclose(ActivationMapper(bundle).heat_map(image, BLUE), expected, atol=1e-5)


def linear_network(
    weights: np.ndarray, bias: np.ndarray, pool: str = "ReduceMean", kernel: int = 8, pads: int = 0
) -> ModelProto:
    """Squeeze-and-excitation around the colours, then the mean, then weights [classes, 3] and bias [classes]."""
    pixels = helper.make_tensor_value_info(network_graph.PIXELS, TensorProto.FLOAT, [network_graph.BATCH, 3, 8, 8])
    logits = helper.make_tensor_value_info(network_graph.LOGITS, TensorProto.FLOAT, [network_graph.BATCH, len(bias)])
    arrays = {"weights": weights, "bias": bias, "axes": np.array([-1, -2])}
    pooling = {
        "ReduceMean": helper.make_node("ReduceMean", ["features", "axes"], ["pooled"]),
        "GlobalAveragePool": helper.make_node("GlobalAveragePool", ["features"], ["pooled"]),
        "AveragePool": helper.make_node("AveragePool", ["features"], ["pooled"], kernel_shape=[kernel] * 2),
    }[pool]
    if pads:
        pooling.attribute.append(helper.make_attribute("pads", [pads] * 4))
    nodes = [
        helper.make_node("GlobalAveragePool", [network_graph.PIXELS], ["squeezed"]),
        helper.make_node("HardSigmoid", ["squeezed"], ["excited"]),
        helper.make_node("Mul", [network_graph.PIXELS, "excited"], ["features"]),
        pooling,
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], [network_graph.LOGITS], transB=1),
    ]
    initializers = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    body = helper.make_graph(nodes, "linear", [pixels], [logits], initializers)
    network = helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return network_graph.complete(network, Preprocessing(image_size=8, eval_crop_ratio=0.875))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), classes=st.integers(1, 5))
@pytest.mark.parametrize("pool", ["ReduceMean", "GlobalAveragePool", "AveragePool"])
def test_the_mean_of_the_evidence_is_the_logit(
    tmp_path_factory: pytest.TempPathFactory, pool: str, seed: int, classes: int
) -> None:
    rng = np.random.default_rng(seed)
    weights, bias = rng.normal(size=(classes, 3)).astype(np.float32), rng.normal(size=classes).astype(np.float32)
    bundle = bundle_of(linear_network(weights, bias, pool), tmp_path_factory.mktemp("linear"))
    image = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    evidence = ActivationMapper(bundle).evidence(image)
    assert evidence.shape == (8, 8, classes)
    logits = OnnxPredictor(bundle, threads=1).logits(image[None])[0]
    np.testing.assert_allclose(evidence.mean(axis=(0, 1)), logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("kernel", "pads"), [(7, 0), (4, 0), (8, 2)])
def test_a_pooling_that_leaves_positions_is_none(tmp_path: Path, kernel: int, pads: int) -> None:
    side = 8 + 2 * pads - kernel + 1
    weights = np.ones((2, 3 * side * side), np.float32)
    bundle = bundle_of(linear_network(weights, np.zeros(2, np.float32), "AveragePool", kernel, pads), tmp_path)
    assert OnnxPredictor(bundle).logits(random_images(2)).shape == (2, 2)
    refused(bundle, "do not follow from the mean of a feature map")


def refused(bundle: Bundle, reason: str) -> None:
    assert not explains(bundle.model_file)
    with pytest.raises(NoHeatMapError, match=reason) as raised:
        ActivationMapper(bundle)
    assert str(raised.value).startswith(bundle.url) and "\n" not in str(raised.value)


def test_other_formats_and_damaged_files_are_refused(tmp_path: Path) -> None:
    bundle = bundle_of(tiny_graph(), tmp_path)
    refused(Bundle(tmp_path, bundle.info.model_copy(update={"format": "tflite"}), bundle.url), "TFLite")
    bundle.model_file.write_bytes(b"no model")
    with pytest.raises(BundleError, match=r"model\.onnx: is no ONNX model"):
        explains(bundle.model_file)
    with pytest.raises(BundleError, match=r"model\.onnx: is no ONNX model"):
        ActivationMapper(bundle)


# Networks as they are exported


def evidence_in_torch(features: nn.Module, head: nn.Module, image: np.ndarray) -> np.ndarray:
    """The head at each position: float32 [rows, columns, classes]."""
    preprocessing = Preprocessing(image_size=image.shape[0], eval_crop_ratio=0.875)
    pixels = (image / 255 - preprocessing.mean) / preprocessing.std
    with torch.no_grad():
        maps = features(torch.from_numpy(pixels).permute(2, 0, 1)[None].float())
        positions = maps[0].permute(1, 2, 0)
        rows, columns, channels = positions.shape
        return head(positions.reshape(-1, channels)).reshape(rows, columns, -1).numpy()


class Excited(nn.Module):
    """A convolution whose channels are weighted by their means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, stride=4, padding=1)
        self.excite = torchvision.ops.SqueezeExcitation(channels, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.excite(self.conv(x).relu())


class Pooled(nn.Module):
    """The shape taken from the batch, as much code does it."""

    def __init__(self, features: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.features, self.head = features, head
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.features(x))
        return self.head(x.view(x.size(0), -1))


@pytest.mark.slow
def test_heads_of_several_layers_are_applied_to_each_position(tmp_path: Path) -> None:
    torch.manual_seed(0)
    features, head = Excited(16), nn.Sequential(nn.Linear(16, 32), nn.Hardswish(), nn.Dropout(), nn.Linear(32, 5))
    model = exported(Pooled(features, head).eval(), 32)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    expected = evidence_in_torch(features, head, image)
    assert expected.shape == (8, 8, 5)
    for precision, tolerance in (("fp32", 1e-5), ("fp16", 5e-3)):
        bundle = bundle_of(optimize.half(model) if precision == "fp16" else model, tmp_path / precision)
        assert explains(bundle.model_file)
        np.testing.assert_allclose(ActivationMapper(bundle).evidence(image), expected, atol=tolerance)


@pytest.mark.slow
def test_a_small_mobilenet_of_torchvision(tmp_path: Path) -> None:
    torch.manual_seed(0)
    blocks = [
        InvertedResidualConfig(16, 3, 16, 16, True, "RE", 2, 1, 1),
        InvertedResidualConfig(16, 5, 32, 24, True, "HS", 2, 1, 1),
    ]
    network = torchvision.models.MobileNetV3(blocks, last_channel=48, num_classes=4).eval()
    bundle = bundle_of(exported(network, 32), tmp_path, largest_bytes=0)
    assert (tmp_path / network_graph.ONNX_DATA_FILE).exists(), "weights lie beside the graph"
    assert explains(bundle.model_file)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    found = ActivationMapper(bundle).evidence(image)
    expected = evidence_in_torch(network.features, network.classifier, image)
    assert found.shape == (4, 4, 4)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
def test_a_transformer_of_tokens_is_refused(tmp_path: Path) -> None:
    network = torchvision.models.VisionTransformer(32, 8, 1, 2, 16, 16, num_classes=3).eval()
    refused(bundle_of(exported(network, 32), tmp_path), "ViT reads them off a token")


@pytest.mark.slow
def test_layers_over_positions_are_refused(tmp_path: Path) -> None:
    network = nn.Sequential(Excited(8), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(8 * 16, 3)).eval()
    refused(bundle_of(exported(network, 32), tmp_path), "VGG and AlexNet weight each position")


@pytest.mark.slow
def test_a_feature_map_of_one_position_is_refused(tmp_path: Path) -> None:
    network = Pooled(nn.Conv2d(3, 4, 4, stride=4), nn.Linear(4, 3)).eval()
    refused(bundle_of(exported(network, 4), tmp_path), "one position only: export it for larger images")


@pytest.mark.parametrize("kind", ["static", "dynamic"])
def test_an_int8_model_gives_nearly_the_same_evidence(tmp_path: Path, kind: str) -> None:
    images = random_colours(24)
    calibration = Calibration(prepare(colour_model()), {"images": images}, OPERATORS)
    recipe = Recipe(kind="dynamic") if kind == "dynamic" else Recipe()
    mappers = [
        ActivationMapper(bundle_of(model, tmp_path / name))
        for name, model in (("fp32", colour_model()), ("int8", quantize(calibration, recipe)))
    ]
    # Within the ranges that the calibration saw; single positions may lie beyond those of the means.
    for image in images[:4]:
        expected, found = (mapper.evidence(image) for mapper in mappers)
        assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
