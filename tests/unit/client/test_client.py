"""Both clients against a web server on the loopback that answers as a test decides."""

import asyncio
import gzip
import subprocess
import sys
import threading
from email import message_from_bytes
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from scenerec.client import (
    AsyncClient,
    BadImageError,
    Client,
    EndpointError,
    Guess,
    OverloadedError,
    RateLimitedError,
    ServedModel,
    ServedVersion,
    TimedOutError,
    UnauthorizedError,
    UnknownModelError,
    UnreachableError,
)
from scenerec.client import async_client as async_client_module
from scenerec.client import client as client_module
from scenerec.errors import ConfigError, DataError, ScenerecError
from tests.answer_fuzz import fuzz_answers
from tests.patience import PATIENCE_S, wait_until
from tests.unit.client.conftest import Ask
from tests.unit.client.endpoint import PATH, heat_map, one, predicted, refused
from tests.web import Answer, WebServer

SOON = {"Retry-After": "0"}


def test_a_prediction(web: WebServer, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a photograph")
    web.serve(PATH, predicted(one("beach", "pier", indoor_outdoor="outdoor", category=["nature", "water"])))
    found = ask(web.url, "predict", "photos", tmp_path / "a.jpg", 2)
    assert found.classes == (Guess("beach", 0.5), Guess("pier", 0.25))
    assert (found.model, found.version, found.request_id) == ("photos", "3", "of-the-answer")
    assert (found.indoor_outdoor, found.category, found.heat_map) == ("outdoor", ("nature", "water"), None)
    assert found.timings_ms == {"total": 5.5, "queued": 0.25, "prepared": 1.25, "inferred": 3.0}
    (request,) = web.received
    assert (request.method, request.body) == ("POST", b"a photograph")
    assert parse_qs(urlsplit(request.path).query) == {"top_k": ["2"]}
    assert not request.headers["content-type"].startswith(("multipart/", "application/json"))
    assert "authorization" not in request.headers


def test_what_the_data_set_does_not_tell_is_absent(web: WebServer, ask: Ask) -> None:
    web.serve(PATH, predicted(one("beach")))
    found = ask(web.url, "predict", "photos", b"content")
    assert (found.indoor_outdoor, found.category, found.heat_map) == (None, (), None)
    assert found.abstained is None


def test_a_model_that_is_not_sure_enough(web: WebServer, ask: Ask) -> None:
    web.serve(PATH, predicted(one("beach", abstained=True)))
    assert ask(web.url, "predict", "photos", b"content").abstained is True


def test_a_heat_map(web: WebServer, ask: Ask) -> None:
    web.serve(PATH, predicted(one("beach", heat_map=heat_map("beach", b"\x89PNG\r\n\x1a\n"))))
    found = ask(web.url, "predict", "photos", b"content", 5, True)
    assert (found.heat_map.label, found.heat_map.png) == ("beach", b"\x89PNG\r\n\x1a\n")
    assert parse_qs(urlsplit(web.requests[0]).query)["explain"] == ["cam"]


def test_several_go_in_one_request_in_their_order(web: WebServer, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "second.png").write_bytes(b"\r\n--second\x00")
    images = [b"first", tmp_path / "second.png", b"", b"fourth"]
    web.serve(PATH, predicted(*(one(label) for label in "abcd")))
    found = ask(web.url, "predict_many", "photos", images)
    assert [each.classes[0].label for each in found] == list("abcd")
    (request,) = web.received
    content_type = request.headers["content-type"].encode()
    parts: Any = message_from_bytes(b"Content-Type: " + content_type + b"\r\n\r\n" + request.body).get_payload()
    assert [part.get_payload(decode=True) for part in parts] == [b"first", b"\r\n--second\x00", b"", b"fourth"]
    assert all(part.get_filename() for part in parts), "what has no file name is a field, not a file"
    assert b"second.png" not in request.body


def test_none_are_no_request(web: WebServer, ask: Ask) -> None:
    assert ask(web.url, "predict_many", "photos", []) == []
    assert web.requests == []


def test_fewer_answers_than_images_are_no_answer(web: WebServer, ask: Ask) -> None:
    web.serve(PATH, predicted(one("beach")))
    with pytest.raises(EndpointError) as caught:
        ask(web.url, "predict_many", "photos", [b"first", b"second"])
    assert (caught.value.code, len(web.requests)) == ("bad_answer", 1)


def test_a_name_cannot_lead_elsewhere(web: WebServer, ask: Ask) -> None:
    web.serve("/v1/models/..%2Fadmin%3F:predict", predicted(one("beach")))
    assert ask(web.url, "predict", "../admin?", b"content").version == "3"


def test_an_endpoint_below_a_path(web: WebServer, ask: Ask) -> None:
    web.serve("/scenes" + PATH, predicted(one("beach")))
    assert ask(f"{web.url}/scenes/", "predict", "photos", b"content").version == "3"


def test_the_key_is_sent(web: WebServer, ask: Ask) -> None:
    web.serve(PATH, predicted(one("beach")))
    ask(web.url, "predict", "photos", b"content", api_key="secret")
    assert web.received[0].headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    "passing",
    [
        predicted(one("beach"), sent_bytes=40),
        predicted(one("beach"), sent_bytes=0),
        Answer(hangs_up=True),
        refused(503, "overloaded", SOON),
        refused(503, "not_ready", SOON),
        refused(429, "rate_limited", SOON),
        refused(500, "internal"),
        refused(504, "timed_out"),
        Answer(b"<html>Bad Gateway</html>", 502),
    ],
    ids=["cut short", "cut before the body", "hung up", "overloaded", "not ready", "limited", "500", "504", "502"],
)
def test_what_may_pass_is_tried_again_under_one_request_id(web: WebServer, ask: Ask, passing: Answer) -> None:
    web.serve(PATH, passing, passing, predicted(one("beach")))
    found = ask(web.url, "predict", "photos", b"content", 2, True, retries=2)
    assert found.classes[0].label == "beach"
    assert [request.body for request in web.received] == [b"content"] * 3
    assert len({request.path for request in web.received}) == 1
    (request_id,) = {request.headers["x-request-id"] for request in web.received}
    assert len(request_id) == 32


def test_each_call_has_a_request_id_of_its_own(web: WebServer, ask: Ask) -> None:
    web.serve(PATH, predicted(one("beach")))
    for _ in range(2):
        ask(web.url, "predict", "photos", b"content")
    assert len({request.headers["x-request-id"] for request in web.received}) == 2


def test_a_kept_connection_that_was_closed_meanwhile_does_no_harm(web: WebServer, ask: Ask) -> None:
    web.serve(PATH, predicted(one("beach")), Answer(hangs_up=True), predicted(one("pier")))
    labels = [ask(web.url, "predict", "photos", b"content").classes[0].label for _ in range(2)]
    assert labels == ["beach", "pier"]
    assert len(web.requests) == 3


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refused(400, "damaged_image"), BadImageError),
        (refused(400, "empty_body"), BadImageError),
        (refused(413, "body_too_large"), BadImageError),
        (refused(415, "unsupported_image"), BadImageError),
        (refused(422, "too_many_pixels"), BadImageError),
        (refused(401, "unauthorized"), UnauthorizedError),
        (refused(404, "unknown_model"), UnknownModelError),
        (refused(404, "not_found"), EndpointError),
        (refused(400, "bad_parameter"), EndpointError),
        (refused(422, "no_heat_map"), EndpointError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_refusal_is_not_tried_again(web: WebServer, ask: Ask, answer: Answer, kind: type[EndpointError]) -> None:
    web.serve(PATH, answer)
    with pytest.raises(EndpointError) as caught:
        ask(web.url, "predict", "photos", b"content")
    error = caught.value
    assert type(error) is kind
    assert isinstance(error, ScenerecError)
    assert (error.status, error.request_id) == (answer.status, "of-the-answer")
    assert str(error) == f"{error.code}: remedy"
    assert error.code.encode() in answer.body
    assert len(web.requests) == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refused(503, "overloaded", SOON), OverloadedError),
        (refused(429, "rate_limited", SOON), RateLimitedError),
        (refused(504, "timed_out"), TimedOutError),
        (refused(500, "internal"), EndpointError),
        (Answer(hangs_up=True), UnreachableError),
        (Answer(b"cut short", sent_bytes=3), UnreachableError),
    ],
    ids=["overloaded", "limited", "504", "500", "hung up", "cut short"],
)
def test_not_for_ever(web: WebServer, ask: Ask, answer: Answer, kind: type[EndpointError]) -> None:
    web.serve(PATH, answer)
    with pytest.raises(EndpointError) as caught:
        ask(web.url, "predict", "photos", b"content", retries=2)
    assert type(caught.value) is kind
    assert len(web.requests) == 3
    assert caught.value.retry_after_s == (0 if answer.headers else None)


def test_the_last_error_is_told(web: WebServer, ask: Ask) -> None:
    web.serve(PATH, Answer(hangs_up=True), refused(503, "overloaded", SOON), refused(400, "damaged_image"))
    with pytest.raises(BadImageError):
        ask(web.url, "predict", "photos", b"content")
    assert len(web.requests) == 3


def test_what_the_server_wants_beyond_the_deadline_is_told_at_once(web: WebServer, ask: Ask) -> None:
    web.serve(PATH, refused(503, "overloaded", {"Retry-After": "3600"}), predicted(one("beach")))
    with pytest.raises(OverloadedError) as caught:
        ask(web.url, "predict", "photos", b"content")
    assert caught.value.retry_after_s == 3600
    assert len(web.requests) == 1


@pytest.mark.slow
def test_no_answer_by_the_deadline(web: WebServer, ask: Ask) -> None:
    enough = threading.Event()
    web.serve(PATH, lambda _: predicted(one("beach")) if enough.wait(PATIENCE_S) else refused(500, "internal"))
    try:
        with pytest.raises(TimedOutError) as caught:
            ask(web.url, "predict", "photos", b"content", timeout_s=1.0)
    finally:
        enough.set()
    assert (caught.value.status, caught.value.code) == (None, "timed_out")
    assert "1 s" in str(caught.value)
    wait_until(lambda: bool(web.received))  # which the server may have read after the deadline
    assert [request.headers["x-request-id"] for request in web.received] == [caught.value.request_id]


@pytest.mark.slow
def test_an_answer_that_comes_drop_by_drop_is_not_awaited_to_its_end(web: WebServer, ask: Ask) -> None:
    """Each byte is in time for itself."""
    web.serve(PATH, predicted(one("beach"), drips_s=0.05))
    with pytest.raises(TimedOutError):
        ask(web.url, "predict", "photos", b"content", timeout_s=1.0)
    wait_until(lambda: bool(web.requests))
    assert len(web.requests) == 1


def test_nobody_there(web: WebServer, ask: Ask) -> None:
    web.stop()
    with pytest.raises(UnreachableError) as caught:
        ask(web.url, "predict", "photos", b"content", retries=1)
    assert web.url in str(caught.value)
    assert "refused" in str(caught.value) or "Connect call failed" in str(caught.value)


def test_an_address_that_leads_elsewhere_is_named(web: WebServer, ask: Ask) -> None:
    web.serve(PATH, Answer(status=308, location="https://elsewhere/"))
    with pytest.raises(EndpointError, match="https://elsewhere/"):
        ask(web.url, "predict", "photos", b"content", api_key="secret")
    assert len(web.requests) == 1


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"", b"[1]", b'{"predictions": [{"classes": 1}]}', b"\xff"])
def test_what_is_no_such_endpoint(web: WebServer, ask: Ask, body: bytes) -> None:
    web.serve(PATH, Answer(body))
    with pytest.raises(EndpointError, match="no scenerec endpoint") as caught:
        ask(web.url, "predict", "photos", b"content")
    assert (caught.value.status, caught.value.code) == (200, "bad_answer")


@pytest.mark.parametrize(
    "classes",
    [[], [{"label": "beach", "probability": float("nan")}], [{"label": "beach", "probability": 1.5}], "ab", [{}]],
)
def test_classes_without_sense_are_no_answer(web: WebServer, ask: Ask, classes: Any) -> None:
    web.serve(PATH, predicted({"classes": classes}))
    with pytest.raises(EndpointError, match="answers what no scenerec endpoint would"):
        ask(web.url, "predict", "photos", b"content")


def test_an_answer_larger_than_any_is_not_read_to_its_end(
    web: WebServer, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (client_module, async_client_module):
        monkeypatch.setattr(module, "LARGEST_ANSWER_BYTES", 1_000_000)
    web.serve(PATH, Answer(gzip.compress(bytes(50_000_000)), headers={"Content-Encoding": "gzip"}))
    with pytest.raises(UnreachableError, match="answers with more than 256 MB"):
        ask(web.url, "predict", "photos", b"content")
    assert len(web.requests) == 1


def test_whatever_is_answered_is_a_prediction_or_an_error_in_one_line() -> None:
    """`make fuzz` tries more of them."""
    found = fuzz_answers(300, seed=1)
    assert found.wrong == []
    assert found.inputs == 300
    assert {"answer", "EndpointError", "UnreachableError", "BadImageError"} <= found.outcomes.keys()


def test_an_error_of_a_proxy_is_explained(web: WebServer, ask: Ask) -> None:
    web.serve(PATH, Answer(b"<html>", 413))
    with pytest.raises(BadImageError, match="413 Request Entity Too Large") as caught:
        ask(web.url, "predict", "photos", b"content")
    assert (caught.value.code, caught.value.request_id) == ("http_413", web.received[0].headers["x-request-id"])


def test_a_file_that_is_not_there(web: WebServer, ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jpg: cannot be read: No such file"):
        ask(web.url, "predict", "photos", tmp_path / "gone.jpg")
    assert web.requests == []


def test_what_is_served(web: WebServer, ask: Ask) -> None:
    version = b'{"version": "3", "weight": 0.9, "url": "s3://m/3", "precision": "int8", "arch": "resnet50"}'
    model = b'{"name": "photos", "labels": 365, "image_size": 224, "explains": true, "versions": [%b]}' % version
    web.serve("/v1/models", Answer(b'{"models": [%b]}' % model))
    versions = (ServedVersion("3", 0.9, "s3://m/3", "int8", "resnet50"),)
    assert ask(web.url, "models") == (ServedModel("photos", versions, 365, 224, True),)
    assert web.received[0].method == "GET"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(b'{"status": "ready"}'), True),
        (Answer(b'{"status": "not_ready"}', 503), False),
        (Answer(b"no replica", 503), False),
    ],
)
def test_ready(web: WebServer, ask: Ask, answer: Answer, expected: bool) -> None:
    web.serve("/readyz", answer)
    assert ask(web.url, "ready") is expected
    assert len(web.requests) == 1


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://host", "http://", "", "http://host:99999", "http://host/?a=b", "http://u:pw@host"]
)
def test_an_address_that_is_none(url: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ConfigError, match="endpoint") as caught:
            kind(url)
        assert "pw" not in str(caught.value)


@pytest.mark.parametrize("key", ["secret\n", "", "geheimnisträger"])
def test_a_key_that_no_header_can_carry(key: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ConfigError, match="API key") as caught:
            kind("http://localhost", api_key=key)
        assert "secret" not in str(caught.value)


def test_requests_are_in_flight_together(web: WebServer) -> None:
    """The server answers none before all of them are there."""
    together = threading.Barrier(20)
    web.serve(PATH, lambda request: predicted(one(f"{request.body.decode()}/{together.wait(PATIENCE_S) >= 0}")))

    async def ask_all() -> list[str]:
        async with AsyncClient(web.url, retries=0) as client:
            found = await asyncio.gather(*(client.predict("photos", b"%d" % n) for n in range(20)))
        return [each.classes[0].label for each in found]

    assert asyncio.run(ask_all()) == [f"{n}/True" for n in range(20)]


def test_threads_share_a_client(web: WebServer) -> None:
    from concurrent.futures import ThreadPoolExecutor

    together = threading.Barrier(4)
    web.serve(PATH, lambda request: predicted(one(f"{request.body.decode()}/{together.wait(PATIENCE_S) >= 0}")))
    with Client(web.url, retries=0) as client, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: client.predict("photos", b"%d" % n), range(4)))
    assert [each.classes[0].label for each in found] == [f"{n}/True" for n in range(4)]


def test_the_import_is_light() -> None:
    heavy = ["numpy", "torch", "tensorflow", "keras", "ray", "onnxruntime", "boto3", "PIL", "pydantic"]
    program = f"import sys, scenerec.client; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTPS_PROXY", "foo://proxy"),
        ("ALL_PROXY", "socks5://localhost:1080"),
        ("NO_PROXY", "[::bad"),
        ("SSL_CERT_FILE", "/not/there.pem"),
        ("SSL_CERT_FILE", __file__),
    ],
)
def test_a_setting_of_the_environment_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    for kind in (Client, AsyncClient):
        with pytest.raises(ConfigError, match=variable) as raised:
            kind("http://localhost:1")
        assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"predictions": [{"classes": [{"label": "a", "probability": 1' + b"0" * 400 + b"}]}]}",
        b'{"predictions": 3}',
        b'{"predictions": {}}',
        b"[]",
        b"null",
    ],
)
def test_an_answer_of_no_endpoint(web: WebServer, ask: Ask, body: bytes) -> None:
    web.serve(PATH, Answer(body))
    with pytest.raises(EndpointError, match="answers what no scenerec endpoint would"):
        ask(web.url, "predict", "photos", b"a photograph")
