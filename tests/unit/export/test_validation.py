"""What an export measures: temperature and threshold of the finished model, as every reader of the bundle sees them."""

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.data.packed_set import open_set
from scenerec.errors import BundleError, ConfigError
from scenerec.export.card import model_card
from scenerec.export.exporter import export
from scenerec.export.job import ExportJob, Product
from scenerec.export.options import Options
from scenerec.export.source import Source, Stated, torch_source
from scenerec.export.torch_samples import sample_images
from scenerec.export.validation import spread, validate
from scenerec.inference.bundles.bundle import CARD_FILE, INFO_FILE, Bundle, open_bundle
from scenerec.inference.bundles.info import CardWords, Preprocessing
from scenerec.inference.evaluation.evaluator import examine_here
from scenerec.inference.evaluation.request import EvaluationRequest, Subject
from scenerec.inference.predictors.classifier import Classifier
from scenerec.inference.predictors.onnx_predictor import OnnxPredictor
from scenerec.inference.predictors.predictor import softmax

# The class whose mean colour is the nearest, of which it is far too sure.
MODEL = """
import torch
from torch import nn

def build():
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4))
    means = torch.tensor({means})
    network[-1].weight.data, network[-1].bias.data = 60 * means, -30 * means.square().sum(1)
    return network
"""
PREPARED = Preprocessing(image_size=32, eval_crop_ratio=0.875)
WORDS = CardWords(intended_use="Sorting holiday pictures.", licence="Apache-2.0")


@dataclass(frozen=True)
class Measured:
    """An export on a hundred images, as many as a temperature needs."""

    source: Source
    data: str
    bundle: Bundle


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> Iterator[Measured]:
    folder, data = tmp_path_factory.mktemp("measured"), f"{scenes}/train"
    sample = sample_images(open_set(data), PREPARED, 100)
    pixels = (sample.images / 255 - PREPARED.mean) / PREPARED.std
    means = [pixels[sample.labels == label].mean((0, 1, 2)).tolist() for label in range(4)]
    (folder / "measured_models.py").write_text(MODEL.format(means=means))
    sys.path.insert(0, str(folder))
    labels = open_set(data).manifest.classes
    source = torch_source("measured_models:build", Stated(name="scenes", labels=labels, image_size=32))
    export(source, str(folder / "bundle"), Options(data=data, images=10, abstain_precision=0.6, card=WORDS))
    yield Measured(source, data, open_bundle(str(folder / "bundle")))
    sys.path.remove(str(folder))


def test_every_reader_gets_the_probabilities_at_the_temperature(measured: Measured) -> None:
    bundle, info = measured.bundle, measured.bundle.info
    found = info.validation
    assert found is not None
    assert (found.samples, sum(each.samples for each in found.classes)) == (100, 100)
    assert info.temperature == found.scaled.temperature > 1.1
    assert found.scaled.loss < found.unscaled.loss

    model, images = OnnxPredictor(bundle), sample_images(open_set(measured.data), info.preprocessing, 12).images
    session = onnxruntime.InferenceSession(bundle.model_file)
    probabilities, logits = session.run(["probabilities", "logits"], {"images": images})
    np.testing.assert_allclose(probabilities, softmax(logits, found.scaled.temperature), atol=2e-5)
    np.testing.assert_allclose(model.probabilities(images), probabilities, atol=2e-5)
    assert np.abs(probabilities - softmax(logits, 1.0)).max() > 0.01
    np.testing.assert_array_equal(probabilities.argmax(1), logits.argmax(1))


def test_an_evaluation_tells_the_loss_with_the_temperature_and_without(measured: Measured) -> None:
    found = measured.bundle.info.validation
    assert found is not None and found.abstention is not None
    request = EvaluationRequest(subject=Subject(target=measured.bundle.url), data=measured.data)
    evaluation = examine_here(request).evaluations[0]
    assert evaluation.top1 == found.top1
    assert evaluation.loss == pytest.approx(found.scaled.loss, abs=1e-5)
    assert evaluation.loss_unscaled == pytest.approx(found.unscaled.loss, abs=1e-5)
    assert evaluation.calibration_error_unscaled == pytest.approx(found.unscaled.calibration_error, abs=1e-5)
    assert evaluation.answered is not None
    assert evaluation.answered.precision == pytest.approx(found.abstention.precision, abs=0.03)  # one at the threshold


def test_a_model_abstains_below_its_threshold(measured: Measured) -> None:
    info = measured.bundle.info
    assert info.validation is not None
    rule = info.validation.abstention
    assert rule is not None
    assert rule.precision >= rule.wished_precision == 0.6
    assert info.abstain_below == rule.threshold > 0
    photographs = [sample.image for sample in open_set(measured.data).read(0)]
    classifier = Classifier(measured.bundle)
    answers = classifier.classify(photographs)
    assert [classifier.abstains(guesses) for guesses in answers] == [
        guesses[0].probability < rule.threshold for guesses in answers
    ]


def test_a_threshold_that_the_images_do_not_bear_out_is_refused(measured: Measured) -> None:
    bundle, options = measured.bundle, Options(data=measured.data, abstain_precision=0.999)
    job = ExportJob(measured.source, "bundles/new", options, bundle.folder, lambda _: None)
    product = Product(bundle.info, [bundle.model_file], bundle.golden)
    with pytest.raises(BundleError, match=r"bundles/new: --abstain-precision 0.999: no confidence promises it on 100"):
        validate(job, product)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "--abstain-precision: no validation set is known: name a packed set with --data"),
        ({"validation_images": 0}, "--abstain-precision: nothing is measured: leave out --validation-images 0"),
    ],
)
def test_a_threshold_that_cannot_be_found_is_refused_before_anything_is_made(
    measured: Measured, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    options = Options(abstain_precision=0.9, **changes)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=said):
        export(measured.source, str(tmp_path / "bundle"), options)


def test_a_bundle_that_is_older_answers_at_temperature_1(measured: Measured, tmp_path: Path) -> None:
    url = shutil.copytree(measured.bundle.folder, tmp_path / "older")
    described = json.loads((url / INFO_FILE).read_text())
    for key in ("validation", "card"):
        del described[key]
    for key in ("first_weights", "licence", "class_samples", "versions"):
        del described["lineage"][key]
    del described["files"][CARD_FILE]
    (url / CARD_FILE).unlink()
    (url / INFO_FILE).write_text(json.dumps(described))
    bundle = open_bundle(str(url))
    assert (bundle.info.temperature, bundle.info.abstain_below) == (1.0, None)
    model, golden = OnnxPredictor(bundle), bundle.golden
    np.testing.assert_array_equal(model.probabilities(golden.images), softmax(model.logits(golden.images), 1.0))


def test_a_card_tells_what_the_bundle_knows_and_nothing_of_when_it_was_made(measured: Measured) -> None:
    bundle = measured.bundle
    card = (bundle.folder / CARD_FILE).read_text()
    later = bundle.info.lineage.model_copy(update={"exported_at": "2031-01-01T00:00:00+00:00"})
    assert card == model_card(bundle.info.model_copy(update={"lineage": later}), bundle.model_file.stat().st_size)
    assert "## Intended use\n\nSorting holiday pictures." in card
    assert "Apache-2.0, by its maker's word." in card
    assert "What its training began with is not known." in card
    counts = bundle.info.validation.classes if bundle.info.validation else ()
    for label, each in zip(bundle.info.labels, counts, strict=True):
        assert f"| {label} | {each.samples} | {each.correct / each.samples:.1%} | " in card


def test_without_images_to_measure_on_nothing_is_said(measured: Measured) -> None:
    bundle = measured.bundle
    job = ExportJob(measured.source, "new", Options(data=measured.data, validation_images=0), bundle.folder, print)
    product = Product(bundle.info.model_copy(update={"validation": None}), [bundle.model_file], bundle.golden)
    assert validate(job, product) is product
    assert "was not measured" in model_card(product.info, 0)


@given(samples=st.integers(1, 500), count=st.integers(1, 500))
def test_samples_are_spread_over_a_set(samples: int, count: int) -> None:
    taken = [index for part in spread(samples, count) for index in part]
    assert taken == sorted(set(taken))
    assert all(0 <= index < samples for index in taken)
    assert max(1, min(samples, count) - 20) <= len(taken) <= min(samples, count)
