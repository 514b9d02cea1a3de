"""Damaged requests without end: forms, JSON, tensors, compressed bodies, headers, addresses, and what befalls them."""

import base64
import gzip
import io
import json
import random
import urllib.parse
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PIL import Image

PREDICT = "/v1/models/tiny:predict"
INFER = "/v2/models/tiny/infer"

_BOMBS = 0.01
"""Share of the requests that are such: each takes a tenth of a second to make."""
_ADDRESSES = (
    *("/", "/docs", "/openapi.json", "/healthz", "/readyz", "/v1/models", "/v1/models/tiny", "/v2", "/v2/health/ready"),
    *("/v2/models/tiny", "/v2/models/tiny/versions/2", "/v2/models/tiny/config", "/v2/models/tiny/ready"),
    *("/v2/models/stats", "/v2/models/tiny/stats", "/v2/models/tiny/versions/1/stats", "/v2/repository/index"),
    *("/v1/models/tiny:predict?top_k=3&explain=cam", "/v1/models/tiny/versions/1:predict", "/v2/models/tiny/infer"),
)

_FORM_TYPE = "multipart/form-data; boundary=abc"
_PIECES = (
    *(b"\r\n", b"--abc", b"--abc--", b'"', b"{", b"}", b"[", b"]", b"[[", b":", b",", b"null", b"true", b'""', b"\\"),
    *(b"-1", b"-0", b"1.0", b"1e999", b"NaN", b"9223372036854775808", b"1" * 5000, b"[" * 3000, b"\\ud800"),
    *(b"\xff", b"\0", b'"shape":[],', b'"data":1,', b";", b"="),
)


@dataclass(frozen=True)
class Damaged:
    """A damaged request."""

    kind: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    method: str = "POST"


def damage(draw: random.Random) -> Damaged:
    """A request of one of the kinds, damaged in its body, or in the header that says how to read it."""
    if draw.random() < _BOMBS:
        return _bomb(draw, "bomb")
    kind = draw.choice(list(_KINDS))
    return _KINDS[kind](draw, kind)


def changed(draw: random.Random, content: bytes) -> bytes:
    """The same with a bit, a piece or a part of it altered, put in or left out, at up to four places."""
    damaged = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4))):
        at = draw.randrange(len(damaged) + 1)
        match draw.randrange(5):
            case 0 if at < len(damaged):
                damaged[at] ^= 1 << draw.randrange(8)
            case 1:
                damaged[at:at] = draw.choice(_PIECES)
            case 2:
                del damaged[at : at + draw.choice((1, 3, 20))]
            case 3:
                damaged[at : at + draw.choice((1, 2, 6))] = draw.choice(_PIECES)
            case _:
                damaged[at:at] = damaged[draw.randrange(len(damaged) + 1) :]
    return bytes(damaged)


def _picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    return buffer.getvalue()


_PNG = _picture()
_FORM = b'--abc\r\ncontent-disposition: form-data; name="a"; filename="x"\r\n\r\n' + _PNG + b"\r\n--abc--\r\n"
_IMAGES = {"images": [base64.b64encode(_PNG).decode()], "top_k": 3, "explain": "cam"}
_AS_JSON = {"id": "7", "inputs": [{"name": "images", "datatype": "UINT8", "shape": [1, 8, 8, 3], "data": [7] * 192}]}
_TENSOR = len(_PNG).to_bytes(4, "little") + _PNG
_IN_BINARY = {
    "parameters": {"timeout": 9_000_000, "binary_data_output": True},
    "inputs": [
        {"name": "photographs", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(_TENSOR)}}
    ],
    "outputs": [{"name": "logits", "parameters": {"classification": 2}}],
}


def _form(draw: random.Random, kind: str) -> Damaged:
    return Damaged(kind, PREDICT, {"content-type": _FORM_TYPE}, changed(draw, _FORM))


def _form_type(draw: random.Random, kind: str) -> Damaged:
    text = changed(draw, _FORM_TYPE.encode())
    return Damaged(kind, PREDICT, {"content-type": _sendable(text)}, _FORM)


def _json(draw: random.Random, kind: str) -> Damaged:
    return Damaged(kind, PREDICT, {"content-type": "application/json"}, changed(draw, json.dumps(_IMAGES).encode()))


def _tensors_as_json(draw: random.Random, kind: str) -> Damaged:
    return Damaged(kind, INFER, {}, changed(draw, json.dumps(_AS_JSON).encode()))


def _tensors_in_binary(draw: random.Random, kind: str) -> Damaged:
    document, tensor = json.dumps(_IN_BINARY).encode(), _TENSOR
    if draw.random() < 0.5:
        document = changed(draw, document)
    else:
        tensor = changed(draw, tensor)
    return Damaged(kind, INFER, {"inference-header-content-length": str(len(document))}, document + tensor)


def _compressed(draw: random.Random, kind: str) -> Damaged:
    path, content = draw.choice(((INFER, json.dumps(_AS_JSON).encode()), (PREDICT, _PNG)))
    encoding, body = draw.choice((("gzip", gzip.compress(content, mtime=0)), ("deflate", zlib.compress(content))))
    return Damaged(kind, path, {"content-encoding": encoding}, changed(draw, body))


def _bomb(draw: random.Random, kind: str) -> Damaged:
    """Few bytes that become many."""
    content = draw.choice((bytes(30_000_000), b"[" * 30_000_000, b'{"images":["' + b"A" * 25_000_000))
    return Damaged(kind, draw.choice((INFER, PREDICT)), {"content-encoding": "gzip"}, gzip.compress(content, 1))


def _headers(draw: random.Random, kind: str) -> Damaged:
    """A sound body under headers that are not."""
    sound = {
        "content-type": draw.choice(("application/json", _FORM_TYPE, "image/png")),
        "content-encoding": draw.choice(("gzip", "identity", "br", "gzip, gzip", "x-gzip")),
        "inference-header-content-length": draw.choice(("10", "0", "-1", "9" * 30)),
        "x-request-id": "abc",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "authorization": "Bearer abc",
        "x-api-key": "abc",
        "accept": "application/json",
    }
    chosen = draw.sample(sorted(sound), draw.choice((1, 2, 3)))
    headers = {name: _sendable(changed(draw, sound[name].encode())) for name in chosen}
    path, body = draw.choice(((PREDICT, _PNG), (INFER, json.dumps(_AS_JSON).encode())))
    return Damaged(kind, path, headers, body)


def _address(draw: random.Random, kind: str) -> Damaged:
    """Any address, asked for in any way."""
    path = draw.choice((*_ADDRESSES, PREDICT, INFER))
    safe = "/:?&=%" if draw.random() < 0.5 else "/"
    address = urllib.parse.quote_from_bytes(changed(draw, path.encode()), safe=safe)
    method = draw.choice(("GET", "GET", "POST", "HEAD", "PUT", "OPTIONS", "DELETE", "PATCH"))
    return Damaged(kind, f"/{address.lstrip('/')}", {}, b"" if method in ("GET", "HEAD") else _PNG, method)


def _sendable(text: bytes) -> str:
    """What is left of a header's value: HTTP itself refuses others."""
    return bytes(value for value in text if value >= 32 and value != 127).decode("latin-1").strip()


_KINDS: dict[str, Callable[[random.Random, str], Damaged]] = {
    "form": _form,
    "type of a form": _form_type,
    "JSON": _json,
    "tensors as JSON": _tensors_as_json,
    "tensors in binary": _tensors_in_binary,
    "compressed body": _compressed,
    "headers": _headers,
    "address": _address,
}
