"""What a server gets from the internet: damaged pictures, odd requests, broken HTTP. It answers, and goes on.

`make fuzz` tries more of the same.
"""

import http.client
import json
import os
import socket
import struct
import zlib
from collections.abc import Iterator

import pytest

from tests.connection_fuzz import fuzz_connections
from tests.grpc_fuzz import fuzz_messages
from tests.http_fuzz import first_class, fuzz_bodies, fuzz_pictures
from tests.image_fuzz import fuzz_images
from tests.mutated_bodies import PREDICT
from tests.patience import PATIENCE_S
from tests.schema_fuzz import fuzz_schema
from tests.tiny_server import Addresses, tiny_server

HOST = b"host: server\r\n"
POST = f"POST {PREDICT} HTTP/1.1\r\n".encode() + HOST


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """Of a server process. At the end it must still be there, have printed no traceback, and end well."""
    with tiny_server(tmp_path_factory.mktemp("served")) as found:
        yield found
        assert first_class(found.http, "blue") == "blue"


@pytest.fixture
def server(addresses: Addresses) -> str:
    """By HTTP, host:port."""
    return addresses.http


def connected(server: str) -> socket.socket:
    host, port = server.split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_S)


def answer_to(server: str, sent: bytes) -> tuple[int, bytes]:
    """Status and body."""
    with connected(server) as connection:
        connection.sendall(sent)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, response.read()


def code_of(body: bytes) -> str:
    document = json.loads(body)
    assert document.keys() == {"error", "code", "request_id"} and b"\n" not in body
    return str(document["code"])


def test_the_openapi_document_holds(server: str) -> None:
    found = fuzz_schema(server, examples=10)
    assert found.passed, found.report
    assert found.inputs > 500
    assert first_class(server, "red") == "red"


def test_a_damaged_picture_gives_an_image_or_an_error_of_ours_in_little_memory() -> None:
    found = fuzz_images(1500, seed=1)
    assert found.wrong == []
    assert found.inputs == 1500
    assert found.outcomes["image"] > 200 and found.outcomes["DamagedPictureError"] > 200


def test_a_damaged_picture_gets_an_answer(server: str) -> None:
    found = fuzz_pictures(server, 400, seed=2)
    assert found.wrong == []
    assert found.inputs == 400
    assert found.outcomes["200"] > 50 and found.outcomes["400 damaged_image"] > 50
    assert first_class(server, "lime") == "green"


def test_a_damaged_form_json_or_tensor_gets_an_answer(server: str) -> None:
    found = fuzz_bodies(server, 1200, seed=1)
    assert found.wrong == []
    assert {"200", "400 bad_json", "400 bad_multipart", "400 bad_tensor", "400 bad_parameter"} <= found.outcomes.keys()
    assert {"404 not_found", "405 method_not_allowed", "413 body_too_large"} <= found.outcomes.keys()
    assert first_class(server, "lime") == "green"


def test_a_damaged_message_gets_an_answer_by_grpc(addresses: Addresses) -> None:
    found = fuzz_messages(addresses.grpc, 1500, seed=1)
    assert found.wrong == []
    assert found.inputs == 1500
    assert {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED", "UNIMPLEMENTED"} <= found.outcomes.keys()


def test_damaged_bytes_on_a_connection_get_an_answer_or_none(server: str) -> None:
    found = fuzz_connections(server, 400, seed=1)
    assert found.wrong == []
    assert found.inputs == 400
    assert first_class(server, "red") == "red"


def test_the_answer_to_a_body_that_is_too_large_reaches_who_sends_all_of_it_first(server: str) -> None:
    megabyte, length = bytes(1_000_000), b"content-length: 50000000\r\n\r\n"
    chunk = b"%x\r\n%s\r\n" % (len(megabyte), megabyte)
    for sent in (
        POST + length + megabyte * 50,
        POST + b"transfer-encoding: chunked\r\n\r\n" + chunk * 50 + b"0\r\n\r\n",
    ):
        status, body = answer_to(server, sent)
        assert (status, code_of(body)) == (413, "body_too_large")


def test_who_asks_before_it_sends_is_told_at_once(server: str) -> None:
    status, body = answer_to(server, POST + b"expect: 100-continue\r\ncontent-length: 50000000\r\n\r\n")
    assert (status, code_of(body)) == (413, "body_too_large")


def test_a_png_of_few_bytes_and_many_pixels_is_refused(server: str) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    pack = zlib.compressobj(1)
    pixels = b"".join(pack.compress(bytes(20_001 * 100)) for _ in range(200)) + pack.flush()  # of one colour, grey
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    assert len(png) < 4_000_000
    status, body = answer_to(server, POST + b"content-length: %d\r\n\r\n" % len(png) + png)
    assert (status, code_of(body)) == (422, "too_many_pixels")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"TRACE /healthz HTTP/1.1\r\n" + HOST + b"\r\n", (405, "method_not_allowed")),
        (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", (404, "not_found")),
        (b"GET /" + b"a" * 50_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", (404, "not_found")),
        (b"POST /v1/models/%0d%0a%ff%00:predict HTTP/1.1\r\n" + HOST + b"\r\n", (404, "unknown_model")),
        (b"GET /v1/models/..%2f..%2fetc HTTP/1.1\r\n" + HOST + b"\r\n", (404, "not_found")),
        (POST + b"content-length: 999999999999999999\r\n\r\n", (413, "body_too_large")),
        (POST.replace(b" HTTP", b"?" + b"a=b&" * 10_000 + b" HTTP") + b"\r\n", (400, "bad_parameter")),
    ],
)
def test_odd_requests_get_an_error_of_ours(server: str, sent: bytes, expected: tuple[int, str]) -> None:
    status, body = answer_to(server, sent)
    assert (status, code_of(body)) == expected


@pytest.mark.parametrize(
    "lengths",
    [
        b"content-length: 5\r\ncontent-length: 6\r\n",
        b"content-length: 5\r\ntransfer-encoding: chunked\r\n",
        b"content-length: -5\r\n",
        b"content-length: +5\r\n",
        b"content-length: " + b"9" * 5000 + b"\r\n",
        b"transfer-encoding : chunked\r\n",
        b"transfer-encoding: xchunked\r\n",
    ],
)
def test_a_body_of_unclear_length_is_refused_and_nothing_behind_it_is_answered(server: str, lengths: bytes) -> None:
    behind = b"GET /v1/models HTTP/1.1\r\n" + HOST + b"\r\n"
    with connected(server) as connection:
        connection.sendall(POST + lengths + b"\r\n0\r\n\r\n" + behind)
        received = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.count(b"HTTP/1.1") == 1


def test_many_idle_and_broken_connections_keep_nobody_waiting(server: str) -> None:
    begun = (POST + b"content-length: 1000\r\n\r\nabc", b"GET /heal", os.urandom(100), b"")
    connections = [connected(server) for _ in range(200)]
    try:
        for index, connection in enumerate(connections):
            connection.sendall(begun[index % len(begun)])
        assert first_class(server, "blue") == "blue"
    finally:
        for connection in connections:
            connection.close()
    assert first_class(server, "red") == "red"
