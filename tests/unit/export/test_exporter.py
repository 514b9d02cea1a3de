"""Exports of small torch modules, on real images."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from scenerec.cli import app
from scenerec.data.manifest import read_manifest
from scenerec.data.packed_set import open_set
from scenerec.data.synthetic_scenes import PLACES
from scenerec.errors import BundleError, ConfigError, ModelError
from scenerec.export.conversion import torch_onnx
from scenerec.export.exporter import default_destination, export
from scenerec.export.formats.onnx_route import check_opset
from scenerec.export.options import Options
from scenerec.export.source import Stated, torch_source
from scenerec.export.steps import Step
from scenerec.export.targets import find_target
from scenerec.export.torch_samples import sample_images
from scenerec.inference.bundles.bundle import open_bundle
from scenerec.inference.bundles.info import Preprocessing
from scenerec.inference.predictors.onnx_predictor import OnnxPredictor
from scenerec.storage import LocalStorage

LABELS = ("beach", "city", "desert", "forest")

MODELS = """
import torch
from torch import nn

def build():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    return nn.Sequential(network, nn.Flatten(), nn.Dropout(), nn.Linear(8, 4))

class Noisy(nn.Module):
    def forward(self, x):
        return x.mean(dim=(2, 3)) + torch.rand_like(x)[:, :, 0, 0]

class OneBatch(nn.Module):
    def forward(self, x):
        return (x - x.mean()).flatten(1)[:, :4]

def no_module():
    return "weights"

def broken():
    raise RuntimeError("no GPU here")
"""


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "exported_models.py").write_text(MODELS)
    monkeypatch.syspath_prepend(str(tmp_path))


def stated(**changes: object) -> Stated:
    return Stated(**{"labels": LABELS, "image_size": 32, **changes})  # type: ignore[arg-type]


def test_a_module_becomes_a_verified_bundle(tmp_path: Path, scenes: Path) -> None:
    """With fixed batch, and answers that do not depend on random weights being drawn once more."""
    said: list[Any] = []
    source = torch_source("exported_models:build", stated(name="own"))
    options = Options(data=f"{scenes}/val", images=10, target=find_target("npu"))
    exported = export(source, str(tmp_path / "bundle"), options, said.append)
    bundle = open_bundle(str(tmp_path / "bundle"))
    info = bundle.info
    assert info == exported.info
    assert (info.name, info.precision, info.target, info.labels, info.opset) == ("own", "fp32", "npu", LABELS, 18)
    assert (info.lineage.framework, info.lineage.arch, info.lineage.source) == (None, None, "exported_models:build")
    assert info.inputs[0].shape == (1, 32, 32, 3)
    assert info.verification is not None
    assert info.verification.images == 10
    assert info.verification.max_difference < 1e-5
    golden = bundle.golden
    assert golden.images.shape == (8, 32, 32, 3)
    np.testing.assert_allclose(OnnxPredictor(bundle).logits(golden.images), golden.logits, atol=1e-6)
    steps = ("libraries", "images to verify on", "network", "ONNX graph", "clean-up", "verification")
    begun = [Step(name) for name in (*steps, "validation", "bundle")]
    told = [each for each in said if isinstance(each, Step)]
    assert told[::2] == begun
    assert [replace(step, seconds=None) for step in told[1::2]] == begun
    (why,) = [each for each in said if isinstance(each, str)]
    assert why == "neither temperature nor figures: there is no validation set of the model's classes to measure it on"


@pytest.mark.slow
def test_the_training_set_tells_the_places_of_the_labels(tmp_path: Path, scenes: Path) -> None:
    """Of a run's own; a set that is named speaks for a network that has none. Other classes of the set are left out."""
    labels = ("beach", "city", "elsewhere", "forest")
    source, options = torch_source("exported_models:build", stated(labels=labels)), Options(data=f"{scenes}/val")
    known = {name: PLACES[name] for name in ("beach", "city", "forest")}
    assert export(source, str(tmp_path / "named"), options).info.places == known
    trained = replace(source, config={"data": {"train": f"{scenes}/train"}})
    assert export(trained, str(tmp_path / "own"), options).info.places == known
    assert open_bundle(str(tmp_path / "own")).info.places == known
    several = {"data": {"train": [{"set": f"{scenes}/train", "weight": 1.0}, {"set": "/elsewhere", "weight": 1.0}]}}
    assert replace(source, config=several).training_set == f"{scenes}/train"


@pytest.mark.slow
def test_a_training_set_that_is_gone_hinders_no_export(tmp_path: Path, scenes: Path) -> None:
    said: list[object] = []
    source = torch_source("exported_models:build", stated())
    trained = replace(source, config={"data": {"train": str(tmp_path / "gone")}})
    exported = export(trained, str(tmp_path / "bundle"), Options(data=f"{scenes}/val", images=10), said.append)
    assert exported.info.places == {}
    told, _ = [line for line in said if isinstance(line, str)]
    assert told.startswith("without images by class, indoors or outdoors, and categories of the labels: ")
    assert str(tmp_path / "gone") in told
    assert "\n" not in told


@pytest.mark.slow
@pytest.mark.parametrize("attribute", ["Noisy", "OneBatch"])
def test_what_answers_otherwise_is_not_written(tmp_path: Path, scenes: Path, attribute: str) -> None:
    """One draws random numbers, one mixes the images of a batch: then it matters which images share one."""
    source = torch_source(f"exported_models:{attribute}", stated(labels=LABELS[: 3 if attribute == "Noisy" else 4]))
    with pytest.raises(BundleError, match="answers otherwise than the network it was made from"):
        export(source, str(tmp_path / "bundle"), Options(data=f"{scenes}/val", images=10))
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("import_path", "reason"),
    [
        ("exported_models:no_module", "returns str, not a torch.nn.Module"),
        ("exported_models:broken", "RuntimeError: no GPU here"),
        ("exported_models:absent", "AttributeError"),
        ("no_such_models:build", "ModuleNotFoundError: No module named 'no_such_models'"),
    ],
)
def test_code_that_gives_no_network_is_told_in_one_line(
    tmp_path: Path, scenes: Path, import_path: str, reason: str
) -> None:
    with pytest.raises(ModelError, match=reason) as raised:
        export(torch_source(import_path, stated()), str(tmp_path / "bundle"), Options(data=f"{scenes}/val"))
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_labels_in_another_order_than_the_sets_are_refused_before_anything_is_done(
    tmp_path: Path, scenes: Path
) -> None:
    classes = read_manifest(LocalStorage(scenes / "val")).classes
    (tmp_path / "labels.txt").write_text("\n".join(reversed(classes)))
    command = ["export", "--torch", "exported_models:build", "--image-size", "32", "--data", f"{scenes}/val"]
    command += ["--output", str(tmp_path / "bundle"), "--labels", str(tmp_path / "labels.txt")]
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 2
    assert refused.stderr.splitlines()[-1] == (
        f"error: exported_models:build: label 0 is '{classes[-1]}', which is class 3 of {scenes}/val: put the labels "
        "in its order, or pack the set in theirs with `scenerec data pack --classes FILE`"
    )
    (tmp_path / "labels.txt").write_text("".join(f"/{name[0]}/{name} {index}\n" for index, name in enumerate(classes)))
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert open_bundle(str(tmp_path / "bundle")).info.labels == classes


def test_labels_that_do_not_fit_are_refused(tmp_path: Path, scenes: Path) -> None:
    source = torch_source("exported_models:build", stated(labels=LABELS[:3]))
    with pytest.raises(ConfigError, match="gives 4 logits, but --labels names 3 classes"):
        export(source, str(tmp_path / "bundle"), Options(data=f"{scenes}/val", images=4))


def test_options_that_do_not_go_together_are_refused(tmp_path: Path, scenes: Path) -> None:
    source = torch_source("exported_models:build", stated())
    with pytest.raises(ConfigError, match="no images to verify on: name a packed set with --data"):
        export(source, str(tmp_path / "bundle"), Options())
    with pytest.raises(ConfigError, match="--route tf2onnx: is for TensorFlow"):
        export(source, str(tmp_path / "bundle"), Options(data=f"{scenes}/val", route="tf2onnx"))
    with pytest.raises(ConfigError, match="name the bundle's folder with -o DEST"):
        default_destination(source, Options())


def test_the_operator_set_must_be_known_to_both_sides() -> None:
    for opset in torch_onnx.OPSETS:
        check_opset(opset, torch_onnx.OPSETS, "torch's exporter")
    with pytest.raises(ConfigError, match="--opset 12: torch's exporter writes 18 to 23"):
        check_opset(12, torch_onnx.OPSETS, "torch's exporter")
    with pytest.raises(ConfigError, match="--opset 99: the installed onnxruntime does not know it"):
        check_opset(99, range(100), "tomorrow's exporter")


def test_images_are_spread_over_the_classes_and_always_the_same(scenes: Path) -> None:
    data, preprocessing = open_set(f"{scenes}/val"), Preprocessing(image_size=32, eval_crop_ratio=0.875)
    found = sample_images(data, preprocessing, 10)
    assert sorted(np.bincount(found.labels, minlength=4).tolist()) == [2, 2, 3, 3]
    assert (found.images.dtype, found.images.shape) == (np.uint8, (10, 32, 32, 3))
    assert np.array_equal(found.images, sample_images(data, preprocessing, 10).images)
    assert np.array_equal(found.images[:4], sample_images(data, preprocessing, 4).images)
    manifest = json.loads((scenes / "val" / "manifest.json").read_text())
    everything = sum(shard["samples"] for shard in manifest["shards"])
    assert 4 < len(sample_images(data, preprocessing, 1000).images) <= everything
