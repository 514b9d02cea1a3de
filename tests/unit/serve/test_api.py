"""The whole HTTP interface, in one process, by ASGI."""

import asyncio
import base64
import gzip
import io
import json
import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from scenerec.data.manifest import Place
from serve.access.admission import Load, RequestLimits
from serve.access.key_file import add_key
from serve.access.keys import ApiKeys, Guard, new_key, read_keys
from serve.access_record import AccessRecord
from serve.api import Api
from serve.loaded_version import EngineOptions, LoadedVersion, load_version
from serve.shelf import Shelf, Weighted
from tests.patience import PATIENCE_S
from tests.subsampled_jpeg import RARE, Factors, subsampled_jpeg
from tests.tiny_bundle import make_tiny_bundle

PREDICT = "/v1/models/tiny:predict"


def picture(colour: str = "red", kind: str = "PNG", size: tuple[int, int] = (16, 16), mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, kind)
    return buffer.getvalue()


def damaged_png() -> bytes:
    """With one changed byte among its pixels."""
    content = bytearray(picture("red", "PNG", (64, 64)))
    content[content.index(b"IDAT") + 30] ^= 0x55
    return bytes(content)


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> LoadedVersion:
    places = {"blue": Place(indoor_outdoor="outdoor", category=("nature", "water"))}
    bundle = make_tiny_bundle(tmp_path_factory.mktemp("tiny"), places=places)
    return load_version("tiny", "3", bundle, EngineOptions(max_pixels=1_000_000))


@pytest.fixture
def records() -> list[AccessRecord]:
    return []


@pytest.fixture
def api(version: LoadedVersion, records: list[AccessRecord]) -> Api:
    shelf = Shelf()
    shelf.replace({"tiny": [Weighted(version, 1.0)]})
    return Api(shelf, limits=RequestLimits(body_bytes=100_000, images=3, timeout_s=20), observe=records.append)


def ask(api: Api, method: str, path: str, **options: Any) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(api)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.request(method, path, **options)

    return asyncio.run(send())


def labels(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [found["classes"][0]["label"] for found in response.json()["predictions"]]


def error(response: httpx.Response) -> tuple[int, str]:
    document = response.json()
    assert document.keys() == {"error", "code", "request_id"}
    assert "\n" not in document["error"] and "Traceback" not in document["error"]
    assert response.headers["x-request-id"] == document["request_id"]
    return response.status_code, document["code"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("content_type", ["image/jpeg", "application/octet-stream", "text/plain", ""])
def test_a_picture_is_answered_whatever_type_is_claimed(api: Api, kind: str, content_type: str) -> None:
    headers = {"content-type": content_type} if content_type else {}
    response = ask(api, "POST", PREDICT, content=picture("lime", kind), headers=headers, params={"top_k": 2})
    assert labels(response) == ["green"]
    document = response.json()
    assert (document["model"], document["version"]) == ("tiny", "3")
    assert len(document["predictions"][0]["classes"]) == 2
    assert document["timings_ms"].keys() == {"total", "queued", "prepared", "inferred"}


def test_a_form_and_json_hold_several_pictures_in_order(api: Api) -> None:
    colours = ("red", "blue", "lime")
    files = [("any", (name, picture(name))) for name in colours]
    assert labels(ask(api, "POST", PREDICT, files=files)) == ["red", "blue", "green"]
    images = [base64.b64encode(picture(name)).decode() for name in colours]
    response = ask(api, "POST", PREDICT, json={"images": images, "top_k": 1}, params={"top_k": 3})
    assert labels(response) == ["red", "blue", "green"]
    assert len(response.json()["predictions"][0]["classes"]) == 1


def test_what_is_known_of_a_place_is_added_to_it(api: Api) -> None:
    (found,) = ask(api, "POST", PREDICT, content=picture("blue")).json()["predictions"]
    assert (found["indoor_outdoor"], found["category"]) == ("outdoor", ["nature", "water"])
    (found,) = ask(api, "POST", PREDICT, content=picture("red")).json()["predictions"]
    assert found.keys() == {"classes"}


def test_a_heat_map_is_a_transparent_png_over_the_input(api: Api) -> None:
    response = ask(api, "POST", PREDICT, content=picture("red"), params={"explain": "cam"})
    heat = response.json()["predictions"][0]["heat_map"]
    image = Image.open(io.BytesIO(base64.b64decode(heat["png"])))
    assert (heat["label"], image.format, image.size) == ("red", "PNG", (8, 8))
    assert image.convert("RGBA").getextrema()[3][0] < 255


BAD: dict[str, tuple[dict[str, Any], tuple[int, str]]] = {
    "no picture": ({"content": b"hello"}, (415, "unsupported_image")),
    "a tiff": ({"content": picture("red", "TIFF")}, (415, "unsupported_image")),
    "an empty body": ({"content": b""}, (400, "empty_body")),
    "a truncated jpeg": ({"content": picture("red", "JPEG", (64, 64))[:-300]}, (400, "damaged_image")),
    "a damaged png": ({"content": damaged_png()}, (400, "damaged_image")),
    "a png without its end": ({"content": picture("red", "PNG", (64, 64))[:-12]}, (400, "damaged_image")),
    "a damaged webp": ({"content": picture("red", "WEBP", (64, 64))[:-40]}, (400, "damaged_image")),
    "a header alone": ({"content": picture("red", "PNG", (64, 64))[:50]}, (400, "damaged_image")),
    "too many pixels": ({"content": picture("red", "PNG", (2000, 2000))}, (422, "too_many_pixels")),
    "a large body": ({"content": b"x" * 100_001}, (413, "body_too_large")),
    "too many pictures": ({"files": [("a", picture())] * 4}, (413, "body_too_large")),
    "more json than pictures": ({"json": {"images": ["?"] * 4}}, (413, "body_too_large")),
    "no end of pictures": (
        {
            "content": b"--abc\r\n\r\n\r\n" * 5000,
            "headers": {"content-type": "multipart/form-data; boundary=abc"},
        },
        (413, "body_too_large"),
    ),
    "no json": ({"content": b"{", "headers": {"content-type": "application/json"}}, (400, "bad_json")),
    "deep json": ({"content": b"[" * 90_000, "headers": {"content-type": "application/json"}}, (400, "bad_json")),
    "json without images": ({"json": {"pictures": []}}, (400, "bad_json")),
    "json with too much": ({"json": {"images": [], "url": "http://x"}}, (400, "bad_json")),
    "json of numbers": ({"json": {"images": [1]}}, (400, "bad_json")),
    "no base64": ({"json": {"images": ["ä"]}}, (400, "bad_json")),
    "no images": ({"json": {"images": []}}, (400, "empty_body")),
    "no boundary": ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, (400, "bad_multipart")),
    "a broken form": (
        {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=abc"}},
        (400, "bad_multipart"),
    ),
    "a form cut off": (
        {
            "content": b'--abc\r\ncontent-disposition: form-data; name="a"\r\n\r\nxyz',
            "headers": {"content-type": "multipart/form-data; boundary=abc"},
        },
        (400, "bad_multipart"),
    ),
    "top_k of none": ({"content": picture(), "params": {"top_k": "0"}}, (400, "bad_parameter")),
    "top_k of a word": ({"content": picture(), "params": {"top_k": "five"}}, (400, "bad_parameter")),
    "an endless top_k": ({"content": picture(), "params": {"top_k": "9" * 5000}}, (400, "bad_parameter")),
    "another explanation": ({"content": picture(), "params": {"explain": "why"}}, (400, "bad_parameter")),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_its_status_and_the_next_request_its_answer(
    api: Api, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    options, expected = BAD[name]
    assert error(ask(api, "POST", PREDICT, **options)) == expected
    assert [record for record in caplog.records if record.levelname != "INFO"] == []  # it is the caller's error
    assert labels(ask(api, "POST", PREDICT, content=picture("blue"))) == ["blue"]


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/v1/models/other:predict", (404, "unknown_model")),
        ("POST", "/v1/models/tiny/versions/9:predict", (404, "unknown_version")),
        ("GET", PREDICT, (405, "method_not_allowed")),
        ("DELETE", "/v1/models", (405, "method_not_allowed")),
        ("GET", "/v1/models/other", (404, "unknown_model")),
        ("GET", "/etc/passwd", (404, "not_found")),
        ("GET", "/v1/models/../../x", (404, "not_found")),
    ],
)
def test_other_addresses_are_refused(api: Api, method: str, path: str, expected: tuple[int, str]) -> None:
    assert error(ask(api, method, path)) == expected


def test_colours_orientations_and_sizes_of_all_kinds_are_answered(api: Api) -> None:
    odd = {
        "grey": Image.new("L", (20, 10), 200),
        "alpha": Image.new("RGBA", (20, 10), (255, 0, 0, 0)),
        "palette": Image.new("P", (20, 10)),
        "16 bit": Image.fromarray(np.full((10, 20), 40_000, np.uint16)),
        "one pixel": Image.new("RGB", (1, 1), "red"),
        "a line": Image.new("RGB", (900, 1), "red"),
    }
    for name, image in odd.items():
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        assert ask(api, "POST", PREDICT, content=buffer.getvalue()).status_code == 200, name
    buffer = io.BytesIO()
    Image.new("CMYK", (20, 10)).save(buffer, "JPEG")
    assert ask(api, "POST", PREDICT, content=buffer.getvalue()).status_code == 200


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_every_format_is_answered(api: Api, kind: str) -> None:
    assert labels(ask(api, "POST", PREDICT, content=picture("blue", kind))) == ["blue"]


@pytest.mark.parametrize("factors", RARE)
def test_a_jpeg_of_a_rare_subsampling_is_answered(api: Api, factors: Factors) -> None:
    content = subsampled_jpeg(Image.new("RGB", (64, 48), "blue"), factors)
    assert labels(ask(api, "POST", PREDICT, content=content)) == ["blue"]


def test_what_is_served_is_told(api: Api) -> None:
    (model,) = ask(api, "GET", "/v1/models").json()["models"]
    assert (model["name"], model["labels"], model["image_size"], model["explains"]) == ("tiny", 3, 8, True)
    assert [each["version"] for each in model["versions"]] == ["3"]
    assert ask(api, "GET", "/v1/models/tiny").json()["labels"] == ["red", "green", "blue"]
    assert ask(api, "GET", "/readyz").json() == {"status": "ready", "models": {"tiny": ["3"]}}
    assert ask(api, "GET", "/openapi.json").json()["openapi"].startswith("3.1")
    page = ask(api, "HEAD", "/")
    assert (page.status_code, page.content) == (200, b"")
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_nothing_served_is_not_ready() -> None:
    response = ask(Api(Shelf()), "GET", "/readyz")
    assert (response.status_code, response.json()["status"]) == (503, "not_ready")


def test_a_request_id_and_a_trace_come_back_and_reach_the_log(api: Api, records: list[AccessRecord]) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    response = ask(api, "POST", PREDICT, content=picture(), headers={"x-request-id": "abc", "traceparent": trace})
    assert (response.headers["x-request-id"], response.json()["request_id"]) == ("abc", "abc")
    assert response.headers["traceparent"] == trace
    (record,) = records
    assert (record.request_id, record.trace, record.status, record.model, record.version) == (
        "abc",
        trace,
        200,
        "tiny",
        "3",
    )
    assert record.images == record.batch_size == 1
    assert record.total_s >= record.inferred_s > 0


@pytest.mark.parametrize("given", ["", "x" * 200, "a\tb"])
def test_an_odd_request_id_is_replaced(api: Api, given: str) -> None:
    found = ask(api, "GET", "/healthz", headers={"x-request-id": given}).headers["x-request-id"]
    assert found != given and found.isalnum()


def test_keys_guard_the_models_and_not_the_page(version: LoadedVersion, tmp_path: Path) -> None:
    file = str(tmp_path / "keys.yaml")
    key = add_key(file, "mobile", images_per_s=0.001, burst=2)
    shelf = Shelf()
    shelf.replace({"tiny": [Weighted(version, 1.0)]})
    seen: list[AccessRecord] = []
    api = Api(shelf, Guard(read_keys(file)[0]), observe=seen.append)
    for path in ("/", "/docs", "/openapi.json", "/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"):
        told = ask(api, "GET", path)
        assert told.status_code == 200 and "tiny" not in told.text
    for path in ("/openapi.json", "/readyz"):
        assert "tiny" in ask(api, "GET", path, headers={"x-api-key": key}).text
    for method, path in (("POST", PREDICT), ("GET", "/v1/models"), ("GET", "/v1/models/tiny"), ("GET", "/v2")):
        refused = ask(api, method, path, content=picture() if method == "POST" else None)
        assert error(refused) == (401, "unauthorized")
        assert refused.headers["www-authenticate"] == "Bearer"
    headers = {"authorization": f"Bearer {key}"}
    for _ in range(2):
        assert labels(ask(api, "POST", PREDICT, content=picture(), headers=headers)) == ["red"]
    refused = ask(api, "POST", PREDICT, content=picture(), headers=headers)
    assert error(refused) == (429, "rate_limited")
    assert int(refused.headers["retry-after"]) > 900
    assert seen[-1].caller == "mobile"


OPEN = {"/", "/docs", "/openapi.json", "/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"}
"""What probes and people without a key may see: nothing of it names a model."""


def test_every_other_address_needs_a_key_by_every_method(version: LoadedVersion) -> None:
    shelf = Shelf()
    shelf.replace({"tiny": [Weighted(version, 1.0)]})
    api = Api(shelf, Guard(ApiKeys(keys=(new_key("mobile")[1],))))
    routes = [route for protocol in api.protocols for route in protocol.routes]
    assert {route.path for route in routes if route.is_open} == OPEN
    for route in routes:
        path = route.path.replace("{model}", "tiny").replace("{version}", "3")
        for method in route.methods:
            for headers in ({}, {"authorization": "Bearer wrong"}, {"x-api-key": "wrong"}, {"x-api-key": ""}):
                for address in (path, f"{path.rstrip('/')}/"):
                    answer = ask(api, method, address, headers=headers)
                    assert answer.status_code == (200 if route.is_open else 401), (method, address, headers)
                    assert "tiny" not in answer.text


def test_a_websocket_is_closed(api: Api) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    asyncio.run(api({"type": "websocket", "path": PREDICT, "headers": []}, receive, send))
    assert sent == [{"type": "websocket.close"}]


def test_a_body_that_never_ends_is_cut_off_and_one_that_never_comes_is_not_waited_for(api: Api) -> None:
    sent: list[Mapping[str, Any]] = []

    async def slowly() -> dict[str, Any]:
        await asyncio.sleep(600)
        return {"type": "http.request"}

    async def endlessly() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x" * 10_000, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    def status_of(receive: Callable[[], Any]) -> int:
        sent.clear()
        scope = {"type": "http", "method": "POST", "path": PREDICT, "headers": [], "query_string": b""}
        asyncio.run(api(scope, receive, send))
        assert json.loads(sent[1]["body"])["code"]
        return int(sent[0]["status"])

    assert status_of(endlessly) == 413
    api.limits = replace(api.limits, body_timeout_s=0.05)
    assert status_of(slowly) == 408


def test_a_caller_that_hangs_up_is_forgotten(api: Api, records: list[AccessRecord]) -> None:
    sent: list[Any] = []

    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": PREDICT, "headers": [], "query_string": b""}
    asyncio.run(api(scope, gone, send))
    assert sent == [] and records == []


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("X-GZIP", gzip.compress), ("deflate", zlib.compress)]
)
def test_a_compressed_picture_is_unpacked(api: Api, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    headers = {"content-encoding": encoding}
    assert labels(ask(api, "POST", PREDICT, content=pack(picture()), headers=headers)) == ["red"]
    assert error(ask(api, "POST", PREDICT, content=picture(), headers=headers)) == (400, "bad_parameter")
    assert error(ask(api, "POST", PREDICT, content=pack(picture())[:-3], headers=headers)) == (400, "bad_parameter")
    assert error(ask(api, "POST", PREDICT, content=pack(bytes(30_000_000)), headers=headers)) == (413, "body_too_large")


def test_a_length_of_any_number_of_digits_is_too_large(api: Api) -> None:
    """A server before the application need not refuse it."""
    headers = {"content-length": "9" * 5000}
    assert error(ask(api, "POST", PREDICT, content=picture(), headers=headers)) == (413, "body_too_large")


def test_an_error_of_the_model_tells_callers_nothing_of_the_server(
    api: Api, version: LoadedVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: np.ndarray | None) -> np.ndarray:
        raise RuntimeError("/secret/path is missing")

    monkeypatch.setattr(version.engine.classifier.model, "logits", fail)
    response = ask(api, "POST", PREDICT, content=picture())
    assert error(response) == (500, "internal")
    assert "secret" not in response.text


def test_too_many_waiting_pictures_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model answers none before one was refused."""
    bundle = make_tiny_bundle(tmp_path)
    version = load_version("tiny", "1", bundle, EngineOptions(max_batch=1, max_queue=2))
    shelf = Shelf()
    shelf.replace({"tiny": [Weighted(version, 1.0)]})
    api = Api(shelf)
    opened, logits = threading.Event(), version.engine.classifier.model.logits

    def held(images: np.ndarray, *others: np.ndarray | None) -> np.ndarray:
        assert opened.wait(PATIENCE_S)
        return logits(images, *others)

    monkeypatch.setattr(version.engine.classifier.model, "logits", held)

    async def flood() -> list[httpx.Response]:
        transport = httpx.ASGITransport(api)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            requests = [asyncio.create_task(client.post(PREDICT, content=picture())) for _ in range(20)]
            await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
            opened.set()
            return await asyncio.gather(*requests)

    responses = asyncio.run(flood())
    statuses = [response.status_code for response in responses]
    assert set(statuses) == {200, 503}
    refused = next(response for response in responses if response.status_code == 503)
    assert error(refused) == (503, "overloaded")
    assert refused.headers["retry-after"] == "1"


def test_more_requests_than_a_process_can_hold_are_refused_and_the_next_is_not(version: LoadedVersion) -> None:
    shelf = Shelf()
    shelf.replace({"tiny": [Weighted(version, 1.0)]})
    load = Load(most=1)
    api = Api(shelf, load=load)
    with load:
        refused = ask(api, "POST", PREDICT, content=picture())
    assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
    assert ask(api, "POST", PREDICT, content=picture()).status_code == 200
