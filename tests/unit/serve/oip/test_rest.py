"""The protocol over HTTP as bytes: what tritonclient never sends, and what it sends wrapped."""

import asyncio
import base64
import gzip
import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scenerec.inference.predictors.engine import ExpiredError
from serve.access.admission import RequestLimits
from serve.access.keys import ApiKeys, Guard, new_key
from serve.access_record import AccessRecord
from serve.errors import RequestError, as_request_error
from serve.http.request import HttpRequest
from serve.http.response import HttpResponse
from serve.http.route import Router
from serve.metered import Metered
from serve.oip.documents import HEADER_LENGTH
from serve.oip.rest import OPEN_INFERENCE
from serve.shelf import Shelf
from tests.tiny_bundle import IMAGE_SIZE, LABELS
from tests.tiny_shelf import make_tiny_shelf

INFER = "/v2/models/tiny/infer"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    made = make_tiny_shelf(tmp_path_factory.mktemp("shelf"))
    yield made
    for version in made.versions():
        version.engine.close()


def respond(
    shelf: Shelf,
    path: str,
    body: bytes = b"",
    method: str = "POST",
    limits: RequestLimits | None = None,
    **headers: str,
) -> HttpResponse:
    """The protocol's answer to one request; header names with _ for -."""
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def ask() -> HttpResponse:
        request = HttpRequest.from_scope({"method": method, "path": path, "headers": raw}, receive)
        record = AccessRecord(request.id, method, path)
        metered = Metered(shelf, Guard(), None, record, limits or RequestLimits(), lambda: 0.0)
        route = Router(OPEN_INFERENCE.routes).find(request)
        return await route.respond(request, metered)

    return asyncio.run(ask())


def get(shelf: Shelf, path: str) -> Any:
    response = respond(shelf, path, method="GET")
    assert response.status == 200
    return json.loads(response.body)


def error_of(shelf: Shelf, body: bytes | dict[str, Any], path: str = INFER, **options: Any) -> RequestError:
    with pytest.raises(Exception) as caught:
        respond(shelf, path, body if isinstance(body, bytes) else json.dumps(body).encode(), **options)
    error = as_request_error(caught.value)
    assert error.status != 500
    return error


def images(count: int = 1, **entries: Any) -> dict[str, Any]:
    """A request for black images, as JSON."""
    shape = [count, IMAGE_SIZE, IMAGE_SIZE, 3]
    data = [0] * int(np.prod(shape))
    return {"inputs": [{"name": "images", "shape": shape, "datatype": "UINT8", "data": data}], **entries}


def in_binary(pixels: np.ndarray, size: int | None = None, **entries: Any) -> tuple[bytes, bytes]:
    """The JSON document and the tensor."""
    parameters = {"binary_data_size": pixels.nbytes if size is None else size}
    described = {"name": "images", "shape": pixels.shape, "datatype": "UINT8", "parameters": parameters}
    return json.dumps({"inputs": [described], **entries}).encode(), pixels.tobytes()


def golden(shelf: Shelf) -> tuple[np.ndarray, np.ndarray]:
    known = shelf.pick("tiny", 0.0).bundle.golden
    return known.images, known.logits


def test_the_server_and_its_models_describe_themselves(shelf):
    assert get(shelf, "/v2")["name"] == get(shelf, "/v2/")["name"] == "scenerec"
    assert get(shelf, "/v2/health/live") == {"live": True}
    assert get(shelf, "/v2/health/ready") == {"ready": True}
    assert get(shelf, "/v2/models/tiny")["versions"] == ["2", "1"]
    assert get(shelf, "/v2/models/tiny/versions/1")["versions"] == ["1"]
    assert get(shelf, "/v2/models/tiny/versions/1/ready") == {"name": "tiny", "ready": True}
    assert get(shelf, "/v2/models/tiny/config")["output"][0]["dims"] == [len(LABELS)]


def test_nothing_to_serve_is_not_ready():
    error = error_of(Shelf(), b"", "/v2/health/ready", method="GET")
    assert (error.status, error.code) == (503, "not_ready")
    assert "retry-after" in error.headers


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v2/models/other", "unknown_model"),
        ("/v2/models/other/ready", "unknown_model"),
        ("/v2/models/tiny/versions/9", "unknown_version"),
        ("/v2/models/tiny/versions/9/config", "unknown_version"),
    ],
)
def test_what_is_not_served_is_unknown(shelf, path, code):
    error = error_of(shelf, b"", path, method="GET")
    assert (error.status, error.code) == (404, code)


@pytest.mark.parametrize(("path", "method"), [(INFER, "GET"), ("/v2", "POST"), ("/v2/models/tiny", "DELETE")])
def test_another_method_is_refused(shelf, path, method):
    error = error_of(shelf, b"", path, method=method)
    assert (error.status, error.code) == (405, "method_not_allowed")
    assert error.headers["allow"]


def test_addresses_that_the_protocol_does_not_have_are_not_found(shelf):
    for path in (
        "/v2/repository/models/tiny/load",
        "/v2/systemsharedmemory/status",
        "/v2/models",
        "/v2/models/tiny/versions",
        "/v2/models/a/b/infer",
    ):
        error = error_of(shelf, b"", path)
        assert (error.status, error.code) == (404, "not_found")


def test_json_without_outputs_gets_both_as_json(shelf):
    response = respond(shelf, INFER, json.dumps(images(2, id="q")).encode())
    document = json.loads(response.body)
    assert (document["id"], document["model_name"], document["model_version"]) == ("q", "tiny", "2")
    assert [each["name"] for each in document["outputs"]] == ["probabilities", "logits"]
    assert document["outputs"][0]["shape"] == [2, 3]
    np.testing.assert_allclose(document["outputs"][0]["data"], [1 / 3] * 6, rtol=1e-6)


def test_a_binary_answer_says_where_its_tensors_begin(shelf):
    pixels, logits = golden(shelf)
    document, tensor = in_binary(pixels, parameters={"binary_data_output": True})
    response = respond(shelf, INFER, document + tensor, inference_header_content_length=str(len(document)))
    length = int(response.headers[HEADER_LENGTH])
    described = json.loads(response.body[:length])["outputs"]
    assert response.content_type == "application/octet-stream"
    assert length + sum(each["parameters"]["binary_data_size"] for each in described) == len(response.body)
    np.testing.assert_allclose(np.frombuffer(response.body[-logits.nbytes :], "<f4").reshape(-1, 3), logits, rtol=1e-5)


def test_an_output_may_differ_from_the_default(shelf):
    asked = images(
        parameters={"binary_data_output": True},
        outputs=[{"name": "logits", "parameters": {"binary_data": False, "classification": 9}}],
    )
    (output,) = json.loads(respond(shelf, INFER, json.dumps(asked).encode()).body)["outputs"]
    assert output["data"] == [f"0.000000:{index}:{label}" for index, label in enumerate(LABELS)]
    assert (output["datatype"], output["shape"]) == ("BYTES", [1, 3])


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"inputs": []}, "bad_tensor", "0 inputs: send one, images or photographs"),
        ({"inputs": images()["inputs"] * 2}, "bad_tensor", "2 inputs"),
        ({"outputs": [{"name": "labels"}]}, "bad_tensor", "no output 'labels'"),
        ({"outputs": [{"name": "logits", "parameters": {"classification": -1}}]}, "bad_parameter", "classification"),
        ({"outputs": [{"name": "logits", "parameters": {"classification": True}}]}, "bad_parameter", "classification"),
        ({"outputs": [{"name": "logits", "parameters": {"shared_memory_region": "a"}}]}, "bad_parameter", "shared"),
        ({"parameters": {"timeout": "soon"}}, "bad_parameter", "timeout"),
        ({"parameters": {"timeout": -(10**400)}}, "bad_parameter", "timeout"),
        ({"id": 5}, "bad_json", "id: Input should be a valid string"),
        ({"inputs": [{"name": "images"}]}, "bad_json", "inputs.0.shape: Field required"),
        ({"inputs": "all"}, "bad_json", "inputs: Input should be a valid array"),
        ({"inputs": [{**images()["inputs"][0], "shape": [1, True, 8, 3]}]}, "bad_json", "inputs.0.shape.1"),
        ({"inputs": [{**images()["inputs"][0], "shape": [1, 9, 8, 3]}]}, "bad_tensor", "images: its shape"),
        ({"inputs": [{**images()["inputs"][0], "data": None}]}, "bad_tensor", "data must be a list"),
        ({"inputs": [{**images()["inputs"][0], "parameters": {"binary_data_size": 0}}]}, "bad_tensor", "has both"),
    ],
)
def test_what_is_wrong_with_a_document_is_said(shelf, change, code, message):
    error = error_of(shelf, {**images(), **change})
    assert (error.status, error.code) == (400, code)
    assert message in error.message
    assert "\n" not in error.message


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xd8\xff", b"[" * 100_000, b'{"inputs": [NaN]}'])
def test_what_is_no_document_is_refused(shelf, body):
    error = error_of(shelf, body)
    assert (error.status, error.code) == (400, "bad_json")
    assert len(error.message) < 200


@pytest.mark.parametrize(
    ("more", "size", "length", "message"),
    [
        (b"", 191, None, "binary_data_size is 191, and 192 bytes follow"),
        (b"x", None, None, "binary_data_size is 192, and 193 bytes follow"),
        (b"x", 193, None, "images: has 193 bytes; UINT8 of shape [1, 8, 8, 3] has 192"),
        (b"", -1, None, "binary_data_size: must be"),
        (b"", None, "999999", "inference-header-content-length is 999999"),
    ],
)
def test_sizes_that_do_not_add_up_are_refused(shelf, more, size, length, message):
    document, tensor = in_binary(np.zeros((1, 8, 8, 3), np.uint8), size)
    error = error_of(shelf, document + tensor + more, inference_header_content_length=length or str(len(document)))
    assert (error.status, error.code) == (400, "bad_tensor")
    assert message in error.message


def test_bytes_that_no_input_claims_are_refused(shelf):
    document = json.dumps(images()).encode()
    error = error_of(shelf, document + b"more", inference_header_content_length=str(len(document)))
    assert "4 bytes follow the JSON document" in error.message


@pytest.mark.parametrize("length", ["", "-1", "x", "1.5", "9" * 5000, "٣"])
def test_a_header_length_that_is_no_number_is_refused(shelf, length):
    error = error_of(shelf, images(), inference_header_content_length=length)
    assert error.status == 400


@settings(deadline=None)
@given(st.data())
def test_a_damaged_request_is_answered_or_refused(shelf, data):
    document, tensor = in_binary(np.zeros((1, 8, 8, 3), np.uint8))
    body = bytearray(document + tensor)
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    kept = data.draw(st.integers(0, len(body)))
    try:
        response = respond(shelf, INFER, bytes(body[:kept]), inference_header_content_length=str(len(document)))
        assert response.status == 200
    except RequestError as error:
        assert error.status == 400


def test_compressed_requests_are_unpacked_within_the_limit(shelf):
    body = json.dumps(images()).encode()
    assert respond(shelf, INFER, gzip.compress(body), content_encoding="gzip").status == 200
    bomb = gzip.compress(bytes(50_000_000))
    error = error_of(shelf, bomb, content_encoding="gzip", limits=RequestLimits(body_bytes=1_000_000))
    assert (error.status, error.code) == (413, "body_too_large")
    assert error_of(shelf, gzip.compress(body)[:-9], content_encoding="gzip").status == 400
    assert error_of(shelf, body, content_encoding="gzip").code == "bad_parameter"
    assert error_of(shelf, body, content_encoding="br").code == "bad_parameter"
    assert "3 bytes follow the gzip" in error_of(shelf, gzip.compress(body) + b"abc", content_encoding="gzip").message


def test_numbers_of_hundreds_of_digits_are_numbers(shelf):
    assert respond(shelf, INFER, json.dumps(images(parameters={"timeout": 10**400})).encode()).status == 200
    many = {"inputs": [{"name": "images", "datatype": "UINT8", "shape": [10**400, 8, 8, 3], "data": []}]}
    error = error_of(shelf, many)
    assert (error.status, error.message) == (413, "too many images: at most 64 in one request")
    wide = {"inputs": [{"name": "images", "datatype": "UINT8", "shape": [1, 10**400, 8, 3], "data": []}]}
    assert "its shape is [1, …, 8, 3]: send [-1, 8, 8, 3]" in error_of(shelf, wide).message
    long = images(2)
    long["inputs"][0]["parameters"] = {"binary_data_size": 10**400}
    assert "binary_data_size: must be a number of bytes" in error_of(shelf, long).message


def test_limits_hold(shelf):
    error = error_of(shelf, images(3), limits=RequestLimits(images=2))
    assert (error.status, error.code) == (413, "body_too_large")
    error = error_of(shelf, images(), limits=RequestLimits(body_bytes=10))
    assert (error.status, error.code) == (413, "body_too_large")


def test_a_caller_may_wait_for_less_than_the_server(shelf):
    with pytest.raises(ExpiredError):
        respond(shelf, INFER, json.dumps(images(parameters={"timeout": 1})).encode())


def test_images_are_charged_to_their_caller(shelf):
    key, entry = new_key("a", images_per_s=1, burst=2)
    guard = Guard(ApiKeys(keys=(entry,)))
    caller = guard.identify(f"Bearer {key}", "")
    record = AccessRecord("q", "POST", INFER)
    metered = Metered(shelf, guard, caller, record, RequestLimits(), lambda: 0.0)
    router = Router(OPEN_INFERENCE.routes)

    async def ask(count: int) -> HttpResponse:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": json.dumps(images(count)).encode()}

        request = HttpRequest("POST", INFER, b"", {}, "q", receive)
        return await router.find(request).respond(request, metered)

    assert asyncio.run(ask(2)).status == 200
    assert (record.model, record.version, record.images, record.batch_size) == ("tiny", "2", 2, 2)
    with pytest.raises(RequestError) as caught:
        asyncio.run(ask(1))
    assert caught.value.status == 429


def test_photographs_are_read_in_order(shelf):
    def png(colour: tuple[int, int, int]) -> str:
        content = io.BytesIO()
        Image.new("RGB", (30, 20), colour).save(content, "PNG")
        return base64.b64encode(content.getvalue()).decode()

    sent = [png(colour) for colour in ((250, 0, 0), (0, 0, 250), (0, 250, 0))]
    asked = {
        "inputs": [{"name": "photographs", "shape": [3], "datatype": "BYTES", "data": sent}],
        "outputs": [{"name": "probabilities", "parameters": {"classification": 1}}],
    }
    (output,) = json.loads(respond(shelf, INFER, json.dumps(asked).encode()).body)["outputs"]
    assert [text.split(":")[2] for text in output["data"]] == ["red", "blue", "green"]
