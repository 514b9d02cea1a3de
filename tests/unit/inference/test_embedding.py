"""Bundles that give embeddings alone: what is asked of them, and what refuses them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import ValidationError
from typer.testing import CliRunner, Result

from scenerec.cli import app
from scenerec.config.distill import DistillConfig
from scenerec.errors import BundleError, ModelError, PlanError, RegistryError
from scenerec.export.card import model_card
from scenerec.export.quantization.accuracy_gate import score_features, top1_drop
from scenerec.export.verification import compare, gate
from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.bundles.info import BundleInfo, Verification
from scenerec.inference.evaluation.evaluator import Examiner
from scenerec.inference.evaluation.promotion import check_promotion
from scenerec.inference.evaluation.request import EvaluationRequest, Subject
from scenerec.inference.onlooker import open_onlooker
from scenerec.inference.predictors.classifier import Classifier
from scenerec.inference.predictors.embedder import Embedder
from scenerec.inference.predictors.onnx_predictor import OnnxPredictor
from scenerec.inference.predictors.predictor import cosine_similarities
from scenerec.training.teacher import find_teacher
from tests.tiny_bundle import IMAGE_SIZE, make_tiny_bundle

COLOURS = {"red": (200, 0, 40), "sea": (0, 60, 220)}


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_tiny_bundle(tmp_path / "bundle", scale=1.0, task="embedding")


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name, colour in COLOURS.items():
        Image.new("RGB", (20, 20), colour).save(folder / f"{name}.png")
    return folder


def predict(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def test_it_has_one_output_and_no_labels(bundle: Bundle) -> None:
    info = bundle.info
    assert (info.labels, [output.name for output in info.outputs], info.task) == ((), ["embedding"], "embedding")
    for change in ({"labels": ("red",)}, {"outputs": [{"name": "logits", "dtype": "float32", "shape": ("batch", 3)}]}):
        with pytest.raises(ValidationError, match="a model that gives embeddings has no labels, and one output"):
            BundleInfo.model_validate({**info.model_dump(), **change})


def test_photographs_become_numbers(bundle: Bundle, photographs: Path) -> None:
    content = (photographs / "red.png").read_bytes()
    assert Classifier(bundle).embeddings([content]).tolist() == [[200, 0, 40]]
    images = np.zeros((2, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    images[1] = 9
    logits, embeddings = Embedder(bundle).logits_and_embeddings(images)
    assert logits.shape == (2, 0) and embeddings.tolist() == [[0, 0, 0], [9, 9, 9]]


def test_the_command_tells_them(bundle: Bundle, photographs: Path) -> None:
    told = predict(photographs, "--model", bundle.url, "--json")
    answers = [json.loads(line) for line in told.stdout.splitlines()]
    assert [(Path(each["image"]).stem, tuple(each["embedding"])) for each in answers] == sorted(COLOURS.items())
    (photographs / "torn.png").write_bytes(b"\x89PNG")
    told = predict(photographs, "--model", bundle.url)
    assert told.exit_code == 4 and "torn.png" in told.stderr
    assert "red.png: 3 numbers, of length 203.961 (--json tells them)" in told.stdout


@pytest.mark.parametrize("name", ["answers.parquet", "answers.jsonl"])
def test_many_go_into_a_table_without_labels(bundle: Bundle, photographs: Path, tmp_path: Path, name: str) -> None:
    told = predict(photographs, "--model", bundle.url, "--output", tmp_path / name)
    assert told.exit_code == 0, told.output
    file = tmp_path / name
    rows = pq.read_table(file).to_pylist() if name.endswith("parquet") else map(json.loads, file.open())
    found = {Path(row.pop("image")).stem: row for row in rows}
    assert found == {name: {"embedding": list(map(float, colour))} for name, colour in COLOURS.items()}


def test_what_needs_classes_refuses_it(bundle: Bundle, photographs: Path, scenes: Path, tmp_path: Path) -> None:
    refused = predict(photographs, "--model", bundle.url, "--output", tmp_path / "answers.csv")
    assert refused.exit_code == 2 and "embeddings are lists, which CSV does not take" in refused.stderr
    refused = predict(photographs, "--model", bundle.url, "--explain", tmp_path / "maps")
    assert refused.exit_code == 2 and "--explain: shows where a class is seen, and" in refused.stderr
    said = "gives embeddings, and names no classes: take a model with a head"
    watched = CliRunner().invoke(app, ["watch", bundle.url, "--frames", str(photographs)])
    assert watched.exit_code == ModelError.exit_code and said in watched.stderr
    compared = CliRunner().invoke(app, ["evaluate", bundle.url, "--data", f"{scenes}/val", "--compare", bundle.url])
    assert compared.exit_code == 2 and "--compare: is for models that name classes, and" in compared.stderr
    with pytest.raises(PlanError, match="gives embeddings, and a teacher names classes"):
        find_teacher(DistillConfig(teacher=bundle.url), str(tmp_path))
    request = EvaluationRequest(subject=Subject(target=bundle.url), data=f"{scenes}/val")
    with pytest.raises(ModelError, match=said):
        _ = Examiner(request, request.subject).model


def test_labelled_images_judge_it(bundle: Bundle, scenes: Path) -> None:
    """By the nearest others: the colours alone tell more than the most frequent class does."""
    missing = CliRunner().invoke(app, ["evaluate", bundle.url])
    assert missing.exit_code == 2 and "give such a set with --data SET" in missing.stderr
    told = CliRunner().invoke(app, ["evaluate", bundle.url, "--data", f"{scenes}/val", "--json"])
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    assert found["data"]["samples"] == 36 and found["knn_top1"] > found["most_frequent_class"]
    told = CliRunner().invoke(app, ["evaluate", bundle.url, "--data", f"{scenes}/val", "--limit", "30"])
    assert "30 of 36 images of 4 classes" in told.stdout and "top-1 of the 20 nearest other images:" in told.stdout


def test_it_is_timed_as_others_are(bundle: Bundle) -> None:
    timed = CliRunner().invoke(app, ["bench", bundle.url, "--batch", "1", "--threads", "1", "--seconds", "0.1"])
    assert timed.exit_code == 0 and len(timed.stdout.splitlines()) == 2, timed.output
    verified = CliRunner().invoke(app, ["verify", bundle.url, "--golden"])
    assert verified.exit_code == 0, verified.output


def test_data_check_goes_by_what_it_sees(bundle: Bundle) -> None:
    onlooker = open_onlooker(bundle.url, ("red", "sea"), {"": None})
    assert not onlooker.knows_classes and onlooker.gives_embeddings


def test_no_other_version_takes_its_place(tmp_path: Path) -> None:
    """What it has given may be kept somewhere."""
    verified = Verification(images=4, batch_sizes=(1,), max_difference=0.0, cosine=1.0)
    first, second = (
        make_tiny_bundle(tmp_path / name, task="embedding", verification=verified) for name in ("first", "second")
    )
    assert check_promotion(first, None, OnnxPredictor, lambda _: [], 0.5).golden_difference < 1e-5
    with pytest.raises(RegistryError, match=r"second: its embeddings are no match for those that .*first has given"):
        check_promotion(second, first, OnnxPredictor, lambda _: [], 0.5)


def test_its_card_tells_how_it_is_used(bundle: Bundle) -> None:
    card = model_card(bundle.info, 1000)
    assert "Turns a photograph into 3 numbers" in card and "## Classes" not in card
    assert 'classifier.embeddings([Path("holiday.jpg").read_bytes()])' in card and "`embedding` come" in card


def test_it_is_compared_by_angles(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(1, 256, (5, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)

    def found(scale: float | tuple[float, float, float]) -> Verification:
        other = make_tiny_bundle(tmp_path / str(scale), scale=scale, task="embedding")
        reference = make_tiny_bundle(tmp_path / "reference", scale=1.0, task="embedding")
        return compare(OnnxPredictor(reference), OnnxPredictor(other), images)

    same, longer, turned = found(1.0), found(1.001), found((1.0, 1.0, 1.2))
    assert same.top1_agreement is None and same.cosine == pytest.approx(1)
    gate("same", same, "fp32")
    gate("longer", longer, "fp16")
    with pytest.raises(BundleError, match=r"longer: .* features differ by 1\.0e-03 of their scale \(1e-04 is allowed"):
        gate("longer", longer, "fp32")
    with pytest.raises(BundleError, match=r"the smallest cosine is 0\.9\d+ \(0\.999 is needed\)"):
        gate("turned", turned, "fp16")
    assert "features differ by" in str(same) and "the smallest cosine is 1.000000" in str(same)


def test_the_gate_of_int8_goes_by_their_cosine() -> None:
    reference = np.float32([[1, 0], [1, 0.1], [0, 1], [0.1, 1]])
    base = score_features(reference, reference)
    assert (base.accuracy, base.accuracy_name, base.agreement) == (pytest.approx(1), "cosine to float32", 1.0)
    found = score_features(np.float32([[1, 0], [1, 0.1], [0, 2], [1, 0.3]]), reference)
    turned = (0.1 + 0.3) / (np.hypot(1, 0.1) * np.hypot(1, 0.3))
    assert found.cosine == pytest.approx((3 + turned) / 4, abs=1e-6)
    assert top1_drop(base, found) == pytest.approx(25 * (1 - turned), abs=1e-4)
    assert found.agreement == 0.75 and "top1" not in found.as_dict()


def test_cosines_of_what_has_no_direction() -> None:
    rows: Callable[..., np.ndarray] = lambda *values: np.array(values, np.float32)  # noqa: E731
    found = cosine_similarities(rows((0, 0), (0, 0), (3, 4), (1, 0)), rows((0, 0), (1, 0), (-3, -4), (0, 2)))
    np.testing.assert_allclose(found, [1, 0, -1, 0], atol=1e-7)
