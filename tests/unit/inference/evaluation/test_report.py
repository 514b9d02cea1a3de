"""The report holds what it should, and loads nothing."""

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scenerec.inference.evaluation.evaluator import Outcome, examine_here
from scenerec.inference.evaluation.images import read_samples
from scenerec.inference.evaluation.metrics import ClassAccuracy
from scenerec.inference.evaluation.report import confident_errors, extreme_classes, render
from scenerec.inference.evaluation.report_parts import thumbnails
from scenerec.inference.evaluation.request import EvaluationRequest
from tests.colour_set import CLASSES, WRONG, pack_colours
from tests.html_page import Page
from tests.tiny_bundle import make_tiny_bundle


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> str:
    return pack_colours(tmp_path_factory.mktemp("colours"))


@pytest.fixture(scope="module")
def outcome(colours: str, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("models")
    return examine(make_tiny_bundle(folder / "model", labels=CLASSES).url, colours)


def examine(model: str, data: str, **fields: Any) -> Outcome:
    return examine_here(EvaluationRequest.model_validate({"subject": {"target": model}, "data": data, **fields}))


def test_the_page_holds_what_was_found(outcome: Outcome) -> None:
    page = Page(render(outcome))
    text = page.text
    for expected in (
        "Top-1 93.3 %",
        "Calibration error",
        "a/red → b/green 2 images, 20 % of the class",
        "Most confident errors",
        "8 of 10",
        outcome.data.manifest.fingerprint,
        outcome.request.command,
        outcome.finished_at,
    ):
        assert expected in text
    assert "Compared" not in text


def test_the_page_loads_nothing_and_runs_nothing(outcome: Outcome) -> None:
    html = render(outcome)
    page = Page(html)
    assert not re.search(r"https?://|//[a-z]|@import|url\(", re.sub(r"base64,[A-Za-z0-9+/=]+", "", html))
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed"}
    sources = [attributes["src"] or "" for tag, attributes in page.tags if tag == "img"]
    assert len(sources) == WRONG + 2 + WRONG  # the mistakes with both classes, and the confident errors
    for source in sources:
        picture = Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/jpeg;base64,"))))
        assert picture.format == "JPEG" and picture.width == picture.height


def test_names_are_escaped(colours: str, tmp_path: Path) -> None:
    outcome = examine(make_tiny_bundle(tmp_path / "<b>&model", labels=CLASSES).url, colours)
    html = render(outcome)
    assert "&lt;b&gt;&amp;model" in html
    assert "<b>&model" not in html


def test_two_models_stand_side_by_side(colours: str, tmp_path: Path) -> None:
    good = make_tiny_bundle(tmp_path / "good", labels=CLASSES).url
    bad = make_tiny_bundle(tmp_path / "bad", scale=-0.05, labels=CLASSES).url
    text = Page(render(examine(good, colours, other={"target": bad}))).text
    assert "A is better than B by 86.67 points" in text
    assert "Only A is right" in text and "Only B is right" in text
    assert "both right 0 only A 28 only B 2 both wrong 0" in text


def test_a_model_without_errors_has_no_confusions(tmp_path: Path, colours: str) -> None:
    model = make_tiny_bundle(tmp_path / "model", labels=CLASSES).url
    text = Page(render(examine(model, colours, limit=1))).text
    assert "There are none." in text
    assert "Worst confusions" not in text


def test_the_pictures_are_those_of_the_samples(outcome: Outcome) -> None:
    data = outcome.data
    wanted = [0, 7, 29]
    drawn = thumbnails(data, wanted)
    assert sorted(drawn) == wanted
    samples = [sample for _, sample in read_samples(data, range(30))]
    for index in wanted:
        mean = np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn[index])))).mean(axis=(0, 1))
        expected = np.asarray(Image.open(io.BytesIO(samples[index].image))).mean(axis=(0, 1))
        assert mean == pytest.approx(expected, abs=6)


def test_the_most_confident_errors_come_first(outcome: Outcome) -> None:
    predictions = outcome.predictions[0]
    errors = confident_errors(predictions)
    assert len(errors) == WRONG
    assert not predictions.correct[errors].any()
    assert predictions.confidence[errors[0]] >= predictions.confidence[errors[1]]


def test_of_many_classes_the_extremes_are_listed() -> None:
    classes = [ClassAccuracy(f"{index:02}", 50, index, 0, index / 50) for index in range(50)]
    classes.append(ClassAccuracy("empty", 0, 0, 0, None))
    worst, best = extreme_classes(classes)
    assert [each.name for each in worst] == [f"{index:02}" for index in range(20)]
    assert [each.name for each in best] == [f"{index:02}" for index in range(40, 50)]
    everything, none = extreme_classes(classes[:40])
    assert len(everything) == 40 and none == []
