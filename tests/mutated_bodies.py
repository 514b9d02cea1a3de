"""Damaged requests without end: forms, JSON, tensors and compressed bodies, and what can happen to them."""

import base64
import gzip
import io
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PIL import Image

PREDICT = "/v1/models/tiny:predict"
INFER = "/v2/models/tiny/infer"

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


def damage(draw: random.Random) -> Damaged:
    """A request of one of the kinds, damaged in its body, or in the header that says how to read it."""
    kind = draw.choice(list(_KINDS))
    return _KINDS[kind](draw, kind)


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
    return Damaged(kind, PREDICT, {"content-type": _FORM_TYPE}, _changed(draw, _FORM))


def _form_type(draw: random.Random, kind: str) -> Damaged:
    text = _changed(draw, _FORM_TYPE.encode())
    sendable = bytes(value for value in text if value >= 32 and value != 127)  # else HTTP itself refuses the header
    return Damaged(kind, PREDICT, {"content-type": sendable.decode("latin-1")}, _FORM)


def _json(draw: random.Random, kind: str) -> Damaged:
    return Damaged(kind, PREDICT, {"content-type": "application/json"}, _changed(draw, json.dumps(_IMAGES).encode()))


def _tensors_as_json(draw: random.Random, kind: str) -> Damaged:
    return Damaged(kind, INFER, {}, _changed(draw, json.dumps(_AS_JSON).encode()))


def _tensors_in_binary(draw: random.Random, kind: str) -> Damaged:
    document, tensor = json.dumps(_IN_BINARY).encode(), _TENSOR
    if draw.random() < 0.5:
        document = _changed(draw, document)
    else:
        tensor = _changed(draw, tensor)
    return Damaged(kind, INFER, {"inference-header-content-length": str(len(document))}, document + tensor)


def _compressed(draw: random.Random, kind: str) -> Damaged:
    body = gzip.compress(json.dumps(_AS_JSON).encode(), mtime=0)
    return Damaged(kind, INFER, {"content-encoding": "gzip"}, _changed(draw, body))


_KINDS: dict[str, Callable[[random.Random, str], Damaged]] = {
    "form": _form,
    "type of a form": _form_type,
    "JSON": _json,
    "tensors as JSON": _tensors_as_json,
    "tensors in binary": _tensors_in_binary,
    "gzip": _compressed,
}


def _changed(draw: random.Random, content: bytes) -> bytes:
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
