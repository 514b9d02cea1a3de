"""A model's temperature and threshold, as callers see them."""

import base64
from pathlib import Path

import numpy as np
import pytest

from scenerec.inference.predictors.predictor import softmax
from serve.api import Api
from serve.loaded_version import EngineOptions, load_version
from serve.shelf import Shelf, Weighted
from tests.measured import validation
from tests.tiny_bundle import make_tiny_bundle
from tests.unit.serve.test_api import PREDICT, ask, picture


@pytest.mark.parametrize(("threshold", "abstained"), [(0.5, False), (1.01, True)])
def test_a_model_with_a_threshold_says_whether_it_abstains(tmp_path: Path, threshold: float, abstained: bool) -> None:
    bundle = make_tiny_bundle(tmp_path / "unsure", validation=validation(abstain_below=threshold))
    shelf = Shelf()
    shelf.replace({"tiny": [Weighted(load_version("tiny", "1", bundle, EngineOptions()), 1.0)]})
    (found,) = ask(Api(shelf), "POST", PREDICT, content=picture("red")).json()["predictions"]
    assert found["abstained"] is abstained
    assert found["classes"][0]["label"] == "red"


def test_probabilities_are_at_the_temperature_in_every_protocol(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "warm", validation=validation(temperature=4.0))
    shelf = Shelf()
    shelf.replace({"tiny": [Weighted(load_version("tiny", "1", bundle, EngineOptions()), 1.0)]})
    api = Api(shelf)
    (v1,) = ask(api, "POST", PREDICT, content=picture("red"), params={"top_k": 3}).json()["predictions"]
    encoded = base64.b64encode(picture("red")).decode()
    inputs = [{"name": "photographs", "datatype": "BYTES", "shape": [1], "data": [encoded]}]
    v2 = ask(api, "POST", "/v2/models/tiny/infer", json={"inputs": inputs}).json()["outputs"]
    tensors = {output["name"]: np.float32(output["data"])[None] for output in v2}
    np.testing.assert_allclose(tensors["probabilities"], softmax(tensors["logits"], 4.0), atol=1e-6)
    assert v1["classes"][0]["probability"] == pytest.approx(float(tensors["probabilities"].max()), abs=1e-5)
    assert float(tensors["probabilities"].max()) < float(softmax(tensors["logits"], 1.0).max()) - 0.05
