"""The export of a multi-label network: graph, thresholds and figures, card, hub folder, and the gate of int8."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from scenerec.data.packed_set import open_set
from scenerec.errors import ConfigError
from scenerec.export.exporter import export
from scenerec.export.graphs import network_graph
from scenerec.export.hub_folder import hub_config
from scenerec.export.options import Options
from scenerec.export.quantization.accuracy_gate import score, top1_drop
from scenerec.export.source import Source, Stated, torch_source
from scenerec.export.validation import check_abstention
from scenerec.inference.bundles.bundle import CARD_FILE, Bundle, open_bundle
from scenerec.inference.evaluation.evaluator import examine_here
from scenerec.inference.evaluation.multilabel_evaluation import MultilabelOutcome
from scenerec.inference.evaluation.request import EvaluationRequest, Subject
from scenerec.inference.predictors.predictor import agreement, sigmoid
from tests.multilabel_set import IMAGES, LABELS, pack_labelled_colours
from tests.tiny_network import random_images, tiny_graph, tiny_network
from tests.unit.export.graphs.test_network_graph import PREPARED

# A label is probable where the mean of its colour is high; blue, green, red in this order.
MODEL = """
import torch
from torch import nn

def build():
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
    network[-1].weight.data = torch.eye(3).flip(0)
    network[-1].bias.data = torch.tensor([-1.0, -1.0, 0.5])
    return network
"""


def test_probabilities_are_the_logistic_function_of_the_logits() -> None:
    model, images = network_graph.complete(tiny_network(), PREPARED, "multilabel"), random_images(5)
    assert model.graph.node[-1].op_type == "Sigmoid"
    session = onnxruntime.InferenceSession(model.SerializeToString())
    probabilities, logits = session.run(["probabilities", "logits"], {"images": images})
    np.testing.assert_allclose(probabilities, sigmoid(logits), atol=1e-6)
    assert tiny_graph().graph.node[-1].op_type == "Softmax"


def test_first_labels_agree_where_both_are_sure_of_them() -> None:
    """Which of two sure labels ranks first is chance; an unsure one that comes first is none."""
    expected = np.float32([[5.0, 4.9, -3.0], [5.0, -1.0, -3.0]])
    swapped = np.float32([[4.9, 5.0, -3.0], [5.0, 6.0, -3.0]])
    assert agreement(expected, swapped, several_labels=True) == 0.5
    assert agreement(expected, swapped, several_labels=False) == 0.0
    assert score(swapped, expected, np.float32([[1, 1, 0], [1, 0, 0]])).agreement == 0.5


def test_the_gate_goes_by_mean_average_precision_where_there_are_several_labels() -> None:
    labels = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]], np.float32)
    right, wrong = labels * 8 - 4, (labels * 8 - 4) * np.float32([1, 1, -1])
    base, found = score(right, right, labels), score(wrong, right, labels)
    assert (base.accuracy_name, base.accuracy, base.top1) == ("mAP", 1.0, 1.0)
    assert found.accuracy == pytest.approx((1 + 1 + 0.25) / 3)
    assert top1_drop(base, found) == pytest.approx(25.0)
    single = score(right, right, np.array([0, 1, 2, 0]))
    assert single.accuracy_name == "top-1" and "map" not in single.as_dict()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Source, str]]:
    folder = tmp_path_factory.mktemp("labelled")
    data = pack_labelled_colours(folder)
    (folder / "labelled_models.py").write_text(MODEL)
    sys.path.insert(0, str(folder))
    stated = Stated(name="colours", labels=LABELS, image_size=32)
    yield replace(torch_source("labelled_models:build", stated), task="multilabel"), data
    sys.path.remove(str(folder))


def test_no_confidence_is_promised(source: tuple[Source, str]) -> None:
    with pytest.raises(ConfigError, match="--abstain-precision: is for a model that tells one class"):
        check_abstention(source[0], Options(data=source[1], abstain_precision=0.9))


@pytest.fixture(scope="module")
def bundle(source: tuple[Source, str], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("exported")
    options = Options(data=source[1], images=10, hub_folder=folder / "hub")
    export(source[0], str(folder / "bundle"), options)
    return open_bundle(str(folder / "bundle"))


@pytest.mark.slow
def test_a_bundle_has_a_threshold_for_each_label(bundle: Bundle, source: tuple[Source, str]) -> None:
    info = bundle.info
    found = info.multilabel_validation
    assert found is not None and info.validation is None and info.task == "multilabel"
    assert (found.samples, found.map, found.f1_micro, found.fingerprint) == (
        IMAGES,
        1.0,
        1.0,
        open_set(source[1]).manifest.fingerprint,
    )
    assert [each.samples for each in found.labels] == [IMAGES // 2] * 3
    assert info.label_thresholds[2] > info.label_thresholds[0] + 0.1  # its bias is higher
    request = EvaluationRequest(subject=Subject(target=bundle.url), data=source[1])
    evaluated = examine_here(request)
    assert isinstance(evaluated, MultilabelOutcome)
    assert evaluated.evaluations[0].f1_macro == 1.0
    graph = onnx.load(bundle.model_file).graph
    assert graph.node[-1].op_type == "Sigmoid" and not any("temperature" in each.name for each in graph.initializer)


@pytest.mark.slow
def test_card_and_hub_folder_tell_that_labels_are_asked_one_by_one(bundle: Bundle) -> None:
    card = (Path(bundle.url) / CARD_FILE).read_text()
    for words in ("any of 3 labels, several or none", "| mAP | 100.00% |", "| Threshold |", "do not add up to 1"):
        assert words in card
    hub = Path(bundle.url).parent / "hub"
    config = json.loads((hub / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    assert config["label_thresholds"] == list(bundle.info.label_thresholds)
    readme = (hub / "README.md").read_text()
    assert "logistic function" in readme and "argmax" not in readme and "softmax" not in readme
    assert "problem_type" not in hub_config(bundle.info.model_copy(update={"task": "classification"}))
