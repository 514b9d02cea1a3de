"""NVIDIA's own client against our server, by HTTP and by gRPC; the server is a process of its own."""

import asyncio
import base64
import io
from collections.abc import Iterator
from queue import Queue
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as by_grpc
import tritonclient.grpc.aio as by_grpc_aio
import tritonclient.http as by_http
import tritonclient.http.aio as by_http_aio
from PIL import Image
from tritonclient.utils import InferenceServerException

from scenerec.inference.predictors.predictor import softmax
from tests.patience import PATIENCE_S
from tests.tiny_bundle import IMAGE_SIZE, LABELS
from tests.triton import NEWEST, OLDER, Served, Transport, connect, same, serve_both


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve_both(tmp_path_factory.mktemp("served")) as found:
        yield found


@pytest.fixture(params=["http", "grpc"])
def triton(served: Served, request: pytest.FixtureRequest) -> Iterator[Transport]:
    with connect(served, request.param) as found:
        yield found


@pytest.fixture
def http(served: Served) -> Iterator[Transport]:
    client = by_http.InferenceServerClient(served.http)
    yield Transport(by_http, client)
    client.close()


def png(image: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG")
    return content.getvalue()


def photographs(images: np.ndarray) -> np.ndarray:
    """Each as a PNG of the network's own size, which preparation leaves as it is."""
    return np.array([png(image) for image in images], dtype=np.object_)


def test_the_server_is_alive_and_ready(triton):
    assert triton.client.is_server_live()
    assert triton.client.is_server_ready()
    assert triton.client.is_model_ready("tiny")
    assert triton.client.is_model_ready("tiny", OLDER)
    assert not triton.client.is_model_ready("tiny", "9")
    assert not triton.client.is_model_ready("other")


def test_the_server_says_what_it_is(triton):
    found = triton.client.get_server_metadata()
    name, extensions = (
        (found["name"], found["extensions"]) if isinstance(found, dict) else (found.name, found.extensions)
    )
    assert name == "scenerec"
    assert set(extensions) == {"binary_tensor_data", "classification", "model_configuration", "statistics"}


def test_a_model_says_what_it_takes(triton):
    found = triton.metadata()
    assert (found["name"], set(found["versions"])) == ("tiny", {NEWEST, OLDER})
    assert found["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, IMAGE_SIZE, IMAGE_SIZE, 3]}]
    assert found["outputs"] == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, len(LABELS)]}]


def test_prepared_images_get_the_golden_logits(triton, served):
    images, logits = served.golden()
    answer = triton.client.infer("tiny", triton.images(images))
    same(answer.as_numpy("logits"), logits)
    same(answer.as_numpy("probabilities"), softmax(logits, 1.0))


def test_photographs_get_the_golden_logits(triton, served):
    images, logits = served.golden()
    answer = triton.client.infer("tiny", [triton.input("photographs", photographs(images), "BYTES")])
    same(answer.as_numpy("logits"), logits)


def test_a_version_can_be_named(triton, served):
    for version in (OLDER, NEWEST):
        images, logits = served.golden(version)
        answer = triton.client.infer("tiny", triton.images(images), model_version=version)
        same(answer.as_numpy("logits"), logits)
        response = answer.get_response()
        assert (response["model_version"] if isinstance(response, dict) else response.model_version) == version


def test_only_what_is_asked_for_comes_and_the_id_comes_back(triton, served):
    images, logits = served.golden()
    outputs = [triton.module.InferRequestedOutput("logits")]
    answer = triton.client.infer("tiny", triton.images(images), outputs=outputs, request_id="q-1", timeout=150_000_000)
    same(answer.as_numpy("logits"), logits)
    assert answer.as_numpy("probabilities") is None
    response = answer.get_response()
    assert (response["id"] if isinstance(response, dict) else response.id) == "q-1"


def test_the_best_classes_come_as_text(triton, served):
    images, logits = served.golden()
    outputs = [triton.module.InferRequestedOutput("logits", class_count=2)]
    answer = triton.client.infer("tiny", triton.images(images), outputs=outputs).as_numpy("logits")
    assert answer.shape == (len(images), 2)
    for row, texts in zip(logits, answer, strict=True):
        best = np.argsort(-row)[:2]
        assert [text.decode() for text in texts] == [f"{row[index]:f}:{index}:{LABELS[index]}" for index in best]


def test_tensors_go_and_come_as_json_too(http, served):
    images, logits = served.golden()
    outputs = [by_http.InferRequestedOutput("logits", binary_data=False)]
    prepared = http.input("images", images, "UINT8", binary_data=False)
    same(http.client.infer("tiny", [prepared], outputs=outputs).as_numpy("logits"), logits)
    encoded = np.array([base64.b64encode(content) for content in photographs(images)], dtype=np.object_)
    sent = http.input("photographs", encoded, "BYTES", binary_data=False)
    same(http.client.infer("tiny", [sent], outputs=outputs).as_numpy("logits"), logits)
    as_text = [by_http.InferRequestedOutput("logits", binary_data=False, class_count=1)]
    assert http.client.infer("tiny", [sent], outputs=as_text).as_numpy("logits").shape == (len(images), 1)


def test_one_output_in_binary_and_one_as_json(http, served):
    images, logits = served.golden()
    outputs = [
        by_http.InferRequestedOutput("probabilities", binary_data=False),
        by_http.InferRequestedOutput("logits", binary_data=True),
    ]
    answer = http.client.infer("tiny", http.images(images), outputs=outputs)
    same(answer.as_numpy("logits"), logits)
    same(answer.as_numpy("probabilities"), softmax(logits, 1.0))


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_requests_may_be_compressed(triton, served, algorithm):
    images, logits = served.golden()
    keyword = "request_compression_algorithm" if triton.module is by_http else "compression_algorithm"
    answer = triton.client.infer("tiny", triton.images(images), **{keyword: algorithm})
    same(answer.as_numpy("logits"), logits)


def test_many_requests_at_once_get_each_its_own_answer(triton, served):
    images, logits = served.golden()
    sent = [triton.images(images[index % 4 : index % 4 + 1]) for index in range(40)]
    if triton.module is by_http:
        answers = [each.get_result() for each in [triton.client.async_infer("tiny", inputs) for inputs in sent]]
    else:
        arrived: Queue[tuple[int, Any, Any]] = Queue()
        for index, inputs in enumerate(sent):
            triton.client.async_infer(
                "tiny", inputs, callback=lambda result, error, index=index: arrived.put((index, result, error))
            )
        received = sorted((arrived.get(timeout=PATIENCE_S) for _ in sent), key=lambda each: each[0])
        assert [error for _, _, error in received] == [None] * len(sent)
        answers = [result for _, result, _ in received]
    for index, answer in enumerate(answers):
        same(answer.as_numpy("logits"), logits[index % 4 : index % 4 + 1])


def test_the_clients_for_asyncio(served):
    images, logits = served.golden()

    async def ask(module: ModuleType, address: str) -> list[np.ndarray]:
        async with module.InferenceServerClient(address) as client:
            base = by_http if module is by_http_aio else by_grpc
            sent = Transport(base, client).images(images)
            answers = await asyncio.gather(*(client.infer("tiny", sent) for _ in range(8)))
            return [answer.as_numpy("logits") for answer in answers]

    for module, address in ((by_http_aio, served.http), (by_grpc_aio, served.grpc)):
        for answer in asyncio.run(ask(module, address)):
            same(answer, logits)


@pytest.mark.parametrize(
    ("model", "version", "name", "datatype", "shape", "output", "message"),
    [
        ("other", "", "images", "UINT8", (1, 8, 8, 3), "logits", "no model 'other' is served here"),
        ("tiny", "9", "images", "UINT8", (1, 8, 8, 3), "logits", "version '9' of tiny is not served"),
        ("tiny", "", "images", "UINT8", (1, 8, 9, 3), "logits", "images: its shape is [1, 8, 9, 3]"),
        ("tiny", "", "images", "UINT8", (0, 8, 8, 3), "logits", "images: is empty"),
        ("tiny", "", "images", "FP32", (1, 8, 8, 3), "logits", "images: its datatype is 'FP32': send UINT8"),
        ("tiny", "", "pixels", "UINT8", (1, 8, 8, 3), "logits", "tiny has no input 'pixels'"),
        ("tiny", "", "images", "UINT8", (1, 8, 8, 3), "labels", "no output 'labels'"),
        ("tiny", "", "images", "UINT8", (65, 8, 8, 3), "logits", "65 images: at most 64"),
    ],
)
def test_what_is_wrong_is_said(triton, model, version, name, datatype, shape, output, message):
    values = np.zeros(shape, np.float32 if datatype == "FP32" else np.uint8)
    outputs = [triton.module.InferRequestedOutput(output)]
    with pytest.raises(InferenceServerException) as caught:
        triton.client.infer(model, [triton.input(name, values, datatype)], model_version=version, outputs=outputs)
    assert message in caught.value.message()
    assert triton.client.is_server_ready()
    if triton.module is by_grpc:
        expected = "NOT_FOUND" if "is served" in message or "not served" in message else "INVALID_ARGUMENT"
        assert caught.value.status() == f"StatusCode.{'RESOURCE_EXHAUSTED' if 'at most' in message else expected}"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"GIF88a", "not a JPEG, PNG, WebP, GIF or BMP image"), (b"", "not a JPEG"), ("cut", "cannot be decoded")],
)
def test_what_is_no_photograph_is_said(triton, served, content, message):
    if content == "cut":
        whole = png(served.golden()[0][0])
        content = whole[: len(whole) // 2]
    sent = np.array([content], dtype=np.object_)
    with pytest.raises(InferenceServerException, match=message):
        triton.client.infer("tiny", [triton.input("photographs", sent, "BYTES")])
