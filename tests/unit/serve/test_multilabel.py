"""A multi-label model, as callers of each protocol, the client, the command line and tables see it."""

import base64
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import ValidationError
from typer.testing import CliRunner

from scenerec.cli import app
from scenerec.client.call import predict
from scenerec.client.prediction import Guess
from scenerec.inference.bundles.bundle import open_bundle
from scenerec.inference.predictors.classifier import Classifier
from scenerec.inference.predictors.predictor import sigmoid
from serve.api import Api
from serve.loaded_version import EngineOptions, load_version
from serve.shelf import Shelf, Weighted
from tests.measured import multilabel_validation
from tests.tiny_bundle import make_tiny_bundle
from tests.unit.serve.test_api import PREDICT, ask, picture

THRESHOLDS = (0.9, 0.8, 0.5)
"""Of red, green and blue; blue is given even where it is not there, as its logit is then 0."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tiny")
    return make_tiny_bundle(folder, task="multilabel", multilabel_validation=multilabel_validation(THRESHOLDS)).url


@pytest.fixture(scope="module")
def api(bundle: str) -> Api:
    shelf = Shelf()
    shelf.replace({"tiny": [Weighted(load_version("tiny", "1", open_bundle(bundle), EngineOptions()), 1.0)]})
    return Api(shelf)


def test_labels_over_their_thresholds_stand_beside_the_ranking(api: Api) -> None:
    (found,) = ask(api, "POST", PREDICT, content=picture("red"), params={"top_k": 2}).json()["predictions"]
    assert [each["label"] for each in found["given_labels"]] == ["red", "blue"]
    assert [each["label"] for each in found["classes"]] == ["red", "green"]
    assert sum(each["probability"] for each in found["given_labels"]) > 1.4
    (yellow,) = ask(api, "POST", PREDICT, content=picture("yellow")).json()["predictions"]
    assert [each["label"] for each in yellow["given_labels"]] == ["red", "green", "blue"]
    assert ask(api, "GET", "/v1/models/tiny").json()["task"] == "multilabel"


def test_the_open_inference_protocol_gives_each_label_its_own_probability(api: Api) -> None:
    encoded = base64.b64encode(picture("yellow")).decode()
    inputs = [{"name": "photographs", "datatype": "BYTES", "shape": [1], "data": [encoded]}]
    outputs = ask(api, "POST", "/v2/models/tiny/infer", json={"inputs": inputs}).json()["outputs"]
    tensors = {output["name"]: np.float32(output["data"]) for output in outputs}
    np.testing.assert_allclose(tensors["probabilities"], sigmoid(tensors["logits"]), atol=1e-6)
    assert tensors["probabilities"].sum() > 2


def test_the_graph_gives_the_probabilities_that_are_answered(bundle: str) -> None:
    model = Classifier(open_bundle(bundle)).model
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    session = model.session  # type: ignore[attr-defined]
    (graph,) = session.run(["probabilities"], {"images": images})
    np.testing.assert_allclose(model.probabilities(images), graph, atol=1e-6)


def test_the_command_names_what_is_given(bundle: str, tmp_path: Path) -> None:
    for colour in ("red", "black"):
        Image.new("RGB", (16, 16), colour).save(tmp_path / f"{colour}.png")
    images = [str(tmp_path / f"{colour}.png") for colour in ("red", "black")]
    said = CliRunner().invoke(app, ["predict", *images, "--model", bundle])
    assert said.exit_code == 0, said.output
    assert [line.partition(": ")[2] for line in said.output.splitlines()] == ["red 100.0%, blue 50.0%", "blue 50.0%"]
    told = CliRunner().invoke(app, ["predict", images[0], "--model", bundle, "--json", "--top", "1"])
    document = json.loads(told.output)
    assert [each["label"] for each in document["given_labels"]] == ["red", "blue"]
    assert len(document["predictions"]) == 1


def test_an_image_may_have_no_label(tmp_path: Path) -> None:
    strict = multilabel_validation((0.9, 0.9, 0.9))
    bundle = make_tiny_bundle(tmp_path / "strict", task="multilabel", multilabel_validation=strict).url
    Image.new("RGB", (16, 16), "black").save(tmp_path / "black.png")
    said = CliRunner().invoke(app, ["predict", str(tmp_path / "black.png"), "--model", bundle])
    assert said.output.partition(": ")[2].strip() == "no label (nearest: red 50.0%)"


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_tables_have_columns_of_what_is_given(bundle: str, tmp_path: Path, form: str) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for colour in ("black", "red", "yellow"):
        Image.new("RGB", (16, 16), colour).save(folder / f"{colour}.png")
    table = tmp_path / f"answers.{form}"
    done = CliRunner().invoke(app, ["predict", str(folder), "--model", bundle, "--output", str(table), "--top", "1"])
    assert done.exit_code == 0, done.output
    expected = [["blue"], ["red", "blue"], ["red", "green", "blue"]]
    if form == "parquet":
        rows = pq.read_table(table).to_pydict()
        assert rows["given_labels"] == expected
        assert [len(each) for each in rows["given_probabilities"]] == [1, 2, 3]
    elif form == "csv":
        lines = table.read_text().splitlines()
        assert lines[0] == "image,label,probability,given_labels"
        assert [line.rpartition(",")[2].split(";") for line in lines[1:]] == expected
    else:
        found = [json.loads(line)["given_labels"] for line in table.read_text().splitlines()]
        assert [[each["label"] for each in given] for given in found] == expected


def test_a_watch_refuses_it(bundle: str, tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, ["watch", bundle, "--frames", str(tmp_path)])
    assert refused.exit_code != 0
    assert "gives several labels" in refused.output


def test_thresholds_that_do_not_fit_the_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="3 labels do not fit 2 thresholds"):
        make_tiny_bundle(tmp_path, task="multilabel", multilabel_validation=multilabel_validation((0.5, 0.5)))


def test_the_client_reads_them(api: Api) -> None:
    images = [picture("red"), picture("black")]
    call = predict("tiny", None, images, top_k=1, explain=False)
    answer = ask(api, call.method, call.path, content=call.body, headers=dict(call.headers), params=dict(call.query))
    red, black = call.read(answer.status_code, answer.json())
    assert red.given_labels is not None and [each.label for each in red.given_labels] == ["red", "blue"]
    assert black.given_labels == (Guess("blue", 0.5),)
    document = answer.json()
    del document["predictions"][0]["given_labels"]
    assert call.read(200, document)[0].given_labels is None
