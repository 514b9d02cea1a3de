"""A multi-label model over a set whose labels are known: its figures, its report, its shares, what does not fit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load
from typer.testing import CliRunner

from jobs.evaluate import Share, predict_share
from scenerec.cli import app
from scenerec.data.packed_set import open_set
from scenerec.errors import DataError, RegistryError
from scenerec.inference.bundles.bundle import open_bundle
from scenerec.inference.evaluation.evaluator import examine_here, merge_answers
from scenerec.inference.evaluation.images import Preparation, image_batches
from scenerec.inference.evaluation.multilabel_evaluation import MultilabelOutcome
from scenerec.inference.evaluation.multilabel_report import missed_labels, wrong_labels
from scenerec.inference.evaluation.promotion import check_promotion
from scenerec.inference.evaluation.report import render, write_outcome
from scenerec.inference.evaluation.request import EvaluationRequest
from scenerec.inference.evaluation.stored import stored_answers
from scenerec.inference.predictors.open_predictor import predictor_of
from tests.colour_set import pack_colours
from tests.measured import multilabel_validation
from tests.multilabel_set import IMAGES, LABELS, pack_labelled_colours
from tests.tiny_bundle import make_tiny_bundle

SCALE = 0.02
"""Of the tiny model: a strong colour has a logit of 3 to 5, a weak one of up to 0.4."""


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its labels are in the order of the alphabet, and those of the tiny model are red, green, blue."""
    return pack_labelled_colours(tmp_path_factory.mktemp("labelled"))


def make_model(folder: Path, **info: Any) -> str:
    """The tiny model with the labels of the set: red is called blue, so that two of three are told wrongly."""
    return make_tiny_bundle(folder, SCALE, task="multilabel", labels=LABELS, **info).url


def request(model: str, data: str, **fields: Any) -> EvaluationRequest:
    return EvaluationRequest.model_validate({"subject": {"target": model}, "data": data, "batch_size": 7, **fields})


def test_figures_are_those_of_what_was_put_into_the_set(tmp_path: Path, colours: str) -> None:
    outcome = examine_here(request(make_model(tmp_path / "model"), colours))
    assert isinstance(outcome, MultilabelOutcome)
    (found,) = outcome.evaluations
    blue, green, _ = found.classes
    assert (found.samples, found.labels_per_sample) == (IMAGES, 1.5)
    assert (green.average_precision, green.samples) == (1.0, IMAGES // 2)
    assert blue.average_precision is not None and blue.average_precision < 0.9  # told by red
    assert [each.threshold for each in found.classes] == [0.5] * 3
    assert found.given_per_sample == 3.0  # no logit of the tiny model is below 0
    assert 0.7 < green.best_threshold < 0.95
    assert green.best_f1 == 1.0 > green.f1


def test_a_bundles_thresholds_decide_what_is_given(tmp_path: Path, colours: str) -> None:
    model = make_model(tmp_path / "model", multilabel_validation=multilabel_validation((0.9, 0.8, 0.999999)))
    outcome = examine_here(request(model, colours))
    assert isinstance(outcome, MultilabelOutcome)
    green, red = outcome.evaluations[0].classes[1:]
    assert (green.precision, green.recall, green.given) == (1.0, 1.0, IMAGES // 2)
    assert (red.precision, red.recall, red.given) == (0.0, 0.0, 0)
    answers = outcome.predictions[0]
    assert all(answers.labels[place, label] for place, label in missed_labels(answers))
    assert not any(answers.labels[place, label] for place, label in wrong_labels(answers))


def test_shares_come_to_the_same_and_ten_crops_are_averaged(tmp_path: Path, colours: str) -> None:
    asked = request(make_model(tmp_path / "model"), colours)
    whole = examine_here(asked)
    assert isinstance(whole, MultilabelOutcome)
    shares = [predict_share(Share(asked, asked.subject, cut)) for cut in (range(14, IMAGES), range(14))]
    merged = merge_answers(shares)
    np.testing.assert_array_equal(merged.logits, whole.predictions[0].logits)
    np.testing.assert_array_equal(merged.labels, whole.predictions[0].labels)
    of_crops = examine_here(asked.model_copy(update={"crops": 10}))
    assert isinstance(of_crops, MultilabelOutcome)
    assert np.abs(of_crops.predictions[0].logits - whole.predictions[0].logits).max() < 1


def test_it_is_written_shown_and_reported(tmp_path: Path, colours: str) -> None:
    model, output = make_model(tmp_path / "model"), tmp_path / "evaluations" / "val"
    arguments = ["evaluate", model, "--data", colours, "--output", str(output), "--compare", model]
    alone = CliRunner().invoke(app, arguments[:-2])
    assert alone.exit_code == 0, alone.output
    assert "mAP" in alone.output and "green (12)" in alone.output
    both = CliRunner().invoke(app, arguments)
    assert both.exit_code == 0, both.output
    assert "A: " in both.output and "B: " in both.output
    figures = json.loads((output / "evaluation.json").read_text())
    assert (figures["task"], figures["evaluation"]["classes"][1]["average_precision"]) == ("multilabel", 1.0)
    assert load((output / "multilabel-predictions.safetensors").read_bytes())["logits"].shape == (IMAGES, 3)
    page = (output / "report.html").read_text()
    assert "Surest wrong labels" in page and "Compared with another model" in page and "data:image/jpeg" in page
    assert stored_answers(str(tmp_path)) == []  # whose rankings `scenerec compare` reads


def test_what_does_not_fit_is_refused(tmp_path: Path, colours: str) -> None:
    single = make_tiny_bundle(tmp_path / "single", labels=LABELS).url
    with pytest.raises(DataError, match=r"gives one class, and .* has several labels"):
        examine_here(request(single, colours))
    with pytest.raises(DataError, match=r"gives several labels, and .* has one an image"):
        one_class = pack_colours(tmp_path / "colours", classes=("blue", "green", "red"))
        examine_here(request(make_model(tmp_path / "model"), one_class))


def test_an_alias_moves_by_mean_average_precision(tmp_path: Path, colours: str) -> None:
    data = open_set(colours)
    verified = {"verification": {"images": 1, "batch_sizes": [1], "max_difference": 0.0, "top1_agreement": 1.0}}
    good, flat = (
        open_bundle(make_tiny_bundle(tmp_path / name, scale, task="multilabel", labels=LABELS, **verified).url)
        for name, scale in (("verified", 0.02), ("worse", (0.02, 0.0, 0.0)))
    )

    def images(model: Any) -> Any:
        return image_batches(data, range(IMAGES), Preparation(model.image_size, model.eval_crop_ratio), 7)

    evidence = check_promotion(good, flat, predictor_of, images, 0.5)
    assert evidence.is_best and "mAP" in str(evidence)
    with pytest.raises(RegistryError, match=r"is worse than .*: mAP"):
        check_promotion(flat, good, predictor_of, images, 0.5)
    single = open_bundle(make_tiny_bundle(tmp_path / "single", labels=LABELS, **verified).url)
    with pytest.raises(RegistryError, match="its task is classification"):
        check_promotion(single, good, predictor_of, images, 0.5)


def test_a_report_needs_no_mistake(tmp_path: Path, colours: str) -> None:
    outcome = examine_here(request(make_model(tmp_path / "model"), colours, limit=1))
    write_outcome(outcome, str(tmp_path / "out"))
    assert "How it was made" in render(outcome)
