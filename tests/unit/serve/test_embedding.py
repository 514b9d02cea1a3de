"""A model that gives embeddings, as callers of each protocol and the client see it."""

import base64

import numpy as np
import pytest

from scenerec.client.call import models, predict
from scenerec.inference.bundles.bundle import open_bundle
from serve.access.admission import RequestLimits
from serve.api import Api
from serve.loaded_version import EngineOptions, LoadedVersion, load_version
from serve.oip.grpc_messages import infer_request
from serve.oip.proto import inference_pb2 as pb
from serve.shelf import Shelf, Weighted
from tests.tiny_bundle import make_tiny_bundle
from tests.unit.serve.test_api import PREDICT, ask, picture

RED, BLUE = (255.0, 0.0, 0.0), (0.0, 0.0, 255.0)


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> LoadedVersion:
    bundle = make_tiny_bundle(tmp_path_factory.mktemp("tiny"), scale=1.0, task="embedding")
    return load_version("tiny", "1", open_bundle(bundle.url), EngineOptions())


@pytest.fixture(scope="module")
def api(version: LoadedVersion) -> Api:
    shelf = Shelf()
    shelf.replace({"tiny": [Weighted(version, 1.0)]})
    return Api(shelf)


def test_the_own_protocol_answers_with_numbers(api: Api) -> None:
    (found,) = ask(api, "POST", PREDICT, content=picture("red")).json()["predictions"]
    assert found == {"classes": [], "embedding": list(RED)}
    described = ask(api, "GET", "/v1/models/tiny").json()
    assert (described["task"], described["labels"], described["explains"]) == ("embedding", [], False)
    refused = ask(api, "POST", PREDICT, content=picture("red"), params={"explain": "cam"})
    assert (refused.status_code, refused.json()["code"]) == (422, "no_heat_map")


def test_the_open_inference_protocol_names_the_output(api: Api) -> None:
    encoded = [base64.b64encode(picture(colour)).decode() for colour in ("red", "blue")]
    inputs = [{"name": "photographs", "datatype": "BYTES", "shape": [2], "data": encoded}]
    (output,) = ask(api, "POST", "/v2/models/tiny/infer", json={"inputs": inputs}).json()["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("embedding", "FP32", [2, 3])
    assert np.float32(output["data"]).reshape(2, 3).tolist() == [list(RED), list(BLUE)]
    described = ask(api, "GET", "/v2/models/tiny").json()
    assert described["outputs"] == [{"name": "embedding", "datatype": "FP32", "shape": [-1, 3]}]
    config = ask(api, "GET", "/v2/models/tiny/config").json()
    assert [each["name"] for each in config["output"]] == ["embedding"] and set(config["parameters"]) == {"photographs"}
    for wanted, said in (
        ({"name": "probabilities"}, "no output 'probabilities': there is embedding"),
        ({"name": "embedding", "parameters": {"classification": 2}}, "embedding: classification: it has no classes"),
    ):
        refused = ask(api, "POST", "/v2/models/tiny/infer", json={"inputs": inputs, "outputs": [wanted]})
        assert refused.status_code == 400 and refused.json()["error"].startswith(said), refused.text


def test_grpc_asks_for_it_by_default(version: LoadedVersion) -> None:
    photograph = pb.ModelInferRequest.InferInputTensor(name="photographs", datatype="BYTES", shape=[1])
    photograph.contents.bytes_contents.append(picture("red"))
    asked = infer_request(version, pb.ModelInferRequest(inputs=[photograph]), RequestLimits())
    assert [output.name for output in asked.outputs] == ["embedding"]


def test_the_client_reads_it(api: Api) -> None:
    images = [picture("red"), picture("blue")]
    call = predict("tiny", None, images, top_k=1, explain=False)
    answer = ask(api, call.method, call.path, content=call.body, headers=dict(call.headers), params=dict(call.query))
    red, blue = call.read(answer.status_code, answer.json())
    assert (red.embedding, red.classes, blue.embedding) == (RED, (), BLUE)
    (served,) = models().read(200, ask(api, "GET", "/v1/models").json())
    assert (served.task, served.label_count) == ("embedding", 0)
    document = answer.json()
    for nonsense in ([], [1.0, "much"], [float("nan")]):
        document["predictions"][0]["embedding"] = nonsense
        with pytest.raises(ValueError):
            call.read(200, document)
