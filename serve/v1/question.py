"""What a predict request asks: photographs as raw bytes, in a form or in JSON, and what is wanted of them."""

import base64
import binascii
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import numpy as np
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from scenerec.data.coordinates import coordinates_array, given_coordinates
from scenerec.data.picture import FORMAT_NAMES
from serve.access.admission import RequestLimits
from serve.errors import ErrorKind, RequestError
from serve.http.request import HttpRequest
from serve.v1.documents import DEFAULT_TOP_K, LARGEST_TOP_K, PredictJsonBody

COORDINATES = ("lat", "lon", "time")
"""The fields of coordinates, in forms and in JSON."""
_LONGEST_FIELD = 100
_JSON_KEYS = [field.name for field in fields(PredictJsonBody)]

# It warns of each broken form, which its sender is told.
logging.getLogger("python_multipart").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Question:
    """What a caller wants to know of which photographs."""

    photographs: tuple[bytes, ...]
    """JPEG, PNG, WebP, GIF or BMP files."""
    top_k: int = DEFAULT_TOP_K
    """How many classes to name for each."""
    explain: bool = False
    """Whether to add a class activation map."""
    coordinates: np.ndarray | None = None
    """Where and when all photographs were taken, float32 [3] as a row of those of `Predictor.logits`."""


async def read_question(request: HttpRequest, limits: RequestLimits) -> Question:
    """Reads a request of any of the three kinds. Raises RequestError, ClientGoneError."""
    if private := sorted(request.query.keys() & set(COORDINATES)):
        message = (
            f"{private[0]}: goes into a form or into JSON: addresses are kept in logs, and coordinates are private"
        )
        raise RequestError(ErrorKind.BAD_PARAMETER, message)
    if unknown := sorted(request.query.keys() - {"top_k", "explain"}):
        raise RequestError(ErrorKind.BAD_PARAMETER, f"{unknown[0][:40]!r}: unknown parameter; known are top_k, explain")
    top_k = _parse_top_k(request.query["top_k"]) if "top_k" in request.query else DEFAULT_TOP_K
    explain: object = request.query.get("explain", "")
    given: Mapping[str, object] = {}
    body = await request.body(limits)
    if not body:
        raise RequestError(ErrorKind.EMPTY_BODY, f"the body is empty: send the bytes of a {FORMAT_NAMES} image")
    if request.content_type == "application/json":
        photographs, options = _read_json(body, limits)
        top_k, explain = _checked_top_k(options.get("top_k", top_k)), options.get("explain", explain)
        given = options
    elif request.content_type == "multipart/form-data":
        photographs, given = _read_form(request.headers["content-type"], body, limits)
    else:
        photographs = (body,)
    if not photographs:
        raise RequestError(ErrorKind.EMPTY_BODY, "there is no image in the body")
    return Question(photographs, top_k, _checked_explain(explain), _checked_coordinates(given))


def _read_json(body: bytes, limits: RequestLimits) -> tuple[tuple[bytes, ...], dict[str, object]]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError(ErrorKind.BAD_JSON, 'the body is not JSON: send {"images": ["<base64>"]}') from None
    images = document.get("images") if isinstance(document, dict) else None
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise RequestError(ErrorKind.BAD_JSON, "images: must be a list of base64 strings")
    if unknown := sorted(document.keys() - set(_JSON_KEYS)):
        message = f"{str(unknown[0])[:40]!r}: unknown key; known are {', '.join(_JSON_KEYS)}"
        raise RequestError(ErrorKind.BAD_JSON, message)
    for name in COORDINATES:
        if not isinstance(document.get(name, "" if name == "time" else 0), str if name == "time" else (int, float)):
            what = "an ISO date" if name == "time" else "a number of degrees"
            raise RequestError(ErrorKind.BAD_PARAMETER, f"{name}: must be {what}, or left out")
    limits.check_images(len(images))
    try:
        return tuple(base64.b64decode(image, validate=True) for image in images), document
    except (binascii.Error, ValueError):  # of which the latter is for what is not ASCII
        raise RequestError(ErrorKind.BAD_JSON, "images: one of them is not base64") from None


def _read_form(content_type: str, body: bytes, limits: RequestLimits) -> tuple[tuple[bytes, ...], Mapping[str, object]]:
    """Every part of the form is a photograph, in order; but for the fields of coordinates, by name."""
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not boundary:
        raise RequestError(ErrorKind.BAD_MULTIPART, "the Content-Type of the form names no boundary")
    photographs: list[bytearray] = []
    given: dict[str, bytearray] = {}
    part, header, disposition, ended = bytearray(), bytearray(), bytearray(), False

    def begin() -> None:
        nonlocal part
        part = bytearray()
        disposition.clear()

    def begin_header(data: bytes, start: int, end: int) -> None:
        header.extend(data[start:end].lower())

    def add_to_header(data: bytes, start: int, end: int) -> None:
        if header == b"content-disposition":
            disposition.extend(data[start:end])

    def begin_content() -> None:
        if (name := _field_name(bytes(disposition))) is None:
            photographs.append(part)
            limits.check_images(len(photographs))
        elif name in given:
            raise RequestError(ErrorKind.BAD_PARAMETER, f"{name}: stands twice in the form")
        else:
            given[name] = part

    def add(data: bytes, start: int, end: int) -> None:
        part.extend(data[start:end])

    def end() -> None:
        nonlocal ended
        ended = True

    callbacks: dict[str, Callable[..., None]] = {
        "on_part_begin": begin,
        "on_header_field": begin_header,
        "on_header_value": add_to_header,
        "on_header_end": header.clear,
        "on_headers_finished": begin_content,
        "on_part_data": add,
        "on_end": end,
    }
    try:
        parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise RequestError(ErrorKind.BAD_MULTIPART, f"the form cannot be read: {error}") from None
    if not ended:
        raise RequestError(ErrorKind.BAD_MULTIPART, "the form is cut off: its last boundary is missing")
    texts = {name: bytes(value[:_LONGEST_FIELD]).decode(errors="replace") for name, value in given.items()}
    return tuple(map(bytes, photographs)), texts


def _field_name(disposition: bytes) -> str | None:
    """The name of a part that is one of the coordinates' fields: such a part has no file name. None of a photograph."""
    options = parse_options_header(disposition)[1]
    name = options.get(b"name", b"").decode(errors="replace")
    is_file = any(option.startswith(b"filename") for option in options)  # filename* as well (RFC 5987)
    return name if name in COORDINATES and not is_file else None


def _parse_top_k(text: str) -> int:
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(LARGEST_TOP_K))
    return _checked_top_k(int(text) if is_number else text)


def _checked_top_k(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LARGEST_TOP_K:
        raise RequestError(ErrorKind.BAD_PARAMETER, f"top_k: must be a whole number from 1 to {LARGEST_TOP_K}")
    return value


def _checked_coordinates(given: Mapping[str, object]) -> np.ndarray | None:
    try:
        latitude, longitude, time = (given.get(name) for name in COORDINATES)
        coordinates = given_coordinates(latitude, longitude, time, COORDINATES)
    except ValueError as error:
        raise RequestError(ErrorKind.BAD_PARAMETER, f"{error}") from None
    return None if coordinates is None else coordinates_array([coordinates])[0]


def _checked_explain(value: object) -> bool:
    if value not in ("", "cam"):
        raise RequestError(ErrorKind.BAD_PARAMETER, "explain: must be `cam`, or left out")
    return value == "cam"
