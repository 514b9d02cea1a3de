"""The layout of the Hugging Face hub: what its readers take from it is what the bundle says."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import yaml
from onnx import ModelProto
from PIL import Image

from scenerec.errors import BundleError, ConfigError
from scenerec.export.card import model_card
from scenerec.export.formats.table import FORMATS
from scenerec.export.graphs import network_graph, optimize
from scenerec.export.hub_folder import check_hub_folder, hub_metadata, preprocessor_config, write_hub_folder
from scenerec.export.job import Product
from scenerec.export.options import Options
from scenerec.export.source import Source
from scenerec.export.targets import find_target
from scenerec.inference.bundles.bundle import Golden
from scenerec.inference.bundles.info import BundleInfo, CardWords
from scenerec.inference.predictors.onnx_predictor import open_session
from scenerec.inference.predictors.predictor import softmax
from scenerec.inference.predictors.trained_model import ZooNetwork
from tests.measured import validation
from tests.tiny_network import info_of, random_images, tiny_graph

TEMPERATURE = 0.02
WEIGHTS = {"fc.weight": np.arange(6, dtype=np.float32).reshape(3, 2)}


def product(model: ModelProto, **changes: object) -> tuple[Source, Product]:
    """A finished model at a temperature, and what it was made of."""
    info = info_of(model).model_copy(update={"validation": validation(TEMPERATURE), **changes})
    images = random_images(5)
    (logits,) = open_session(model.SerializeToString()).run(["logits"], {"images": images})
    network = ZooNetwork("resnet18", 3, WEIGHTS)
    source = Source("colours", "runs/colours", network, "torch", info.labels, info.preprocessing)
    scaled = network_graph.with_temperature(model, TEMPERATURE)
    return source, Product(info, [], Golden(images, np.asarray(logits)), scaled, tiny_graph())


@pytest.mark.parametrize(
    ("made", "precision", "file"),
    [(network_graph.copy_of, "fp32", "model.onnx"), (optimize.half, "fp16", "model_fp16.onnx")],
)
def test_its_answers_from_its_own_files_are_the_bundles(
    tmp_path: Path, made: object, precision: str, file: str
) -> None:
    """Photographs are prepared by preprocessor_config.json; the softmax of the logits has the temperature in it."""
    source, made_of = product(made(tiny_graph()), precision=precision)  # type: ignore[operator]
    write_hub_folder(tmp_path, source, made_of)
    prepared = json.loads((tmp_path / "preprocessor_config.json").read_text())
    pixels = made_of.golden.images * prepared["rescale_factor"]
    pixels = (pixels - prepared["image_mean"]) / prepared["image_std"]
    for name in {"model.onnx", file}:
        onnx.checker.check_model(tmp_path / "onnx" / name)
        session = onnxruntime.InferenceSession(tmp_path / "onnx" / name)
        assert [value.name for value in session.get_inputs()] == ["pixel_values"]
        (logits,) = session.run(None, {"pixel_values": pixels.transpose(0, 3, 1, 2).astype(np.float32)})
        expected = softmax(made_of.golden.logits, TEMPERATURE)
        np.testing.assert_allclose(softmax(logits, 1.0), expected, atol=1e-4 if precision == "fp32" else 2e-2)
    assert {path.name for path in (tmp_path / "onnx").iterdir()} == {"model.onnx", file}


def test_names_of_classes_and_weights_lie_beside_the_graph(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    source, made_of = product(tiny_graph())
    write_hub_folder(tmp_path, source, made_of)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["id2label"] == {"0": "red", "1": "green", "2": "blue"}
    assert config["label2id"] == {"red": 0, "green": 1, "blue": 2}
    assert (config["num_labels"], config["temperature"]) == (3, TEMPERATURE)
    assert "model_type" not in config
    np.testing.assert_array_equal(load_file(tmp_path / "model.safetensors")["fc.weight"], WEIGHTS["fc.weight"])


def test_the_readme_is_the_card_behind_the_hubs_metadata(tmp_path: Path) -> None:
    source, made_of = product(tiny_graph(), card=CardWords(intended_use="Colours.", licence="Apache-2.0"))
    write_hub_folder(tmp_path, source, made_of)
    readme = (tmp_path / "README.md").read_text()
    found = re.match(r"---\n(.*?)\n---\n\n# colours\n", readme, re.DOTALL)
    assert found is not None
    metadata = yaml.safe_load(found[1])
    assert metadata["license"] == "apache-2.0"
    assert (metadata["pipeline_tag"], metadata["metrics"]) == ("image-classification", ["accuracy"])
    (result,) = metadata["model-index"][0]["results"]
    assert result["metrics"][0] == {"type": "accuracy", "value": 0.75}
    assert "## Intended use\n\nColours." in readme
    assert 'get_model("resnet18", num_classes=3)' in readme
    assert "/sets" not in readme  # addresses are nobody's business


def test_the_hubs_preprocessor_has_the_models_own_filter_mean_and_crop() -> None:
    info = info_of(tiny_graph())
    assert preprocessor_config(info)["resample"] == Image.Resampling.BILINEAR
    other = info.preprocessing.changed(interpolation="bicubic", mean=(0.5, 0.4, 0.3), eval_crop_ratio=0.8)
    found = preprocessor_config(info.model_copy(update={"preprocessing": other}))
    assert (found["resample"], found["image_mean"]) == (Image.Resampling.BICUBIC, [0.5, 0.4, 0.3])
    assert found["size"] == {"shortest_edge": round(other.image_size / 0.8)}


def with_licence(stated: str, inherited: str, **teachers: str) -> BundleInfo:
    info = info_of(tiny_graph())
    lineage = info.lineage.model_copy(update={"licence": inherited, "teachers": teachers})
    return info.model_copy(update={"card": CardWords(licence=stated), "lineage": lineage})


def test_no_word_of_its_maker_overrules_first_weights_that_forbid_commercial_use() -> None:
    assert hub_metadata(with_licence("Apache-2.0", "CC-BY-NC-4.0"))["license"] == "cc-by-nc-4.0"
    assert hub_metadata(with_licence("Apache-2.0", "BSD-3-Clause"))["license"] == "apache-2.0"
    assert hub_metadata(with_licence("Ours", ""))["license_name"] == "Ours"
    assert hub_metadata(with_licence("Apache-2.0", "", swag="CC-BY-NC-4.0"))["license"] == "cc-by-nc-4.0"
    assert hub_metadata(with_licence("", "BSD-3-Clause"))["license"] == "unknown"


def test_the_card_says_what_the_network_learned_from_and_names_no_address() -> None:
    card = model_card(with_licence("", "", **{"SWAG of vit_b_16": "CC-BY-NC-4.0"}), 10)
    assert "**Not for commercial use**, by the licence of weights that it learned from." in card
    assert "It learned from a network that began with SWAG of vit_b_16. Their licence: [CC-BY-NC-4.0](https" in card
    handed_on = model_card(with_licence("", "", **{"/home/me/w.pth": ""}), 10, usage="Somehow.")
    assert "began with w.pth. Their licence: not known." in handed_on and "Not for commercial use" not in handed_on
    assert "ImageNet's mean and deviation; bilinear, crop ratio 0.875" in handed_on


def test_what_the_hub_has_no_use_for_is_refused_first(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--hub-folder: holds ONNX for any machine"):
        check_hub_folder(tmp_path, Options(target=find_target("npu")), FORMATS["int8"])
    with pytest.raises(ConfigError, match="--hub-folder: holds ONNX for any machine"):
        check_hub_folder(tmp_path, Options(), FORMATS["tflite-int8"])
    source, made_of = product(tiny_graph())
    write_hub_folder(tmp_path, source, made_of)
    check_hub_folder(tmp_path, Options(), FORMATS["fp32"])  # its own may be replaced
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(BundleError, match=r"holds thesis.txt, which is of no export"):
        check_hub_folder(tmp_path, Options(), FORMATS["fp32"])
