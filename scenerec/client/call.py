"""The requests of the endpoint's protocol, and how their answers are read. No I/O."""

import base64
import binascii
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx

from scenerec.client.coordinates import Coordinates
from scenerec.client.prediction import Guess, HeatMap, Prediction
from scenerec.client.served import ServedModel, ServedVersion
from scenerec.errors import DataError, system_reason

Result = TypeVar("Result")

Image = Path | bytes
"""A JPEG, PNG, WebP, GIF or BMP file: its path, or its content."""


@dataclass(frozen=True)
class Call(Generic[Result]):
    """A request, and how its answer is read.

    `read` raises LookupError, TypeError, ValueError, AttributeError or OverflowError for an answer that is none of this
    protocol.
    """

    method: str
    path: str
    read: Callable[[int, Any], Result]
    """Makes the result of the status and the JSON document of an answer."""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    answered_by: frozenset[int] = frozenset({200})
    """Statuses of answers; all others are errors."""


def contents(images: Iterable[Image]) -> list[bytes]:
    """The bytes of images. Raises DataError for a file that cannot be read."""
    return [_content(image) for image in images]


def predict(
    model: str,
    version: str | None,
    images: Sequence[bytes],
    top_k: int,
    explain: bool,
    coordinates: Coordinates | None = None,
) -> Call[list[Prediction]]:
    """Asks for all images in one request: one as the body itself, several as multipart in their order.

    With coordinates, which are of all images, one is multipart as well: they stand in no address.
    """

    def read(status: int, document: Any) -> list[Prediction]:
        predictions = [_prediction(each, document) for each in document["predictions"]]
        if len(predictions) != len(images):
            raise ValueError(f"{len(predictions)} predictions for {len(images)} images")
        return predictions

    place = f"/versions/{quote(version, safe='')}" if version else ""
    fields = coordinates.fields if coordinates else {}
    is_bare = len(images) == 1 and not fields
    content_type, body = ("application/octet-stream", images[0]) if is_bare else _multipart(images, fields)
    return Call(
        "POST",
        f"/v1/models/{quote(model, safe='')}{place}:predict",
        read,
        query={"top_k": str(top_k), **({"explain": "cam"} if explain else {})},
        headers={"content-type": content_type},
        body=body,
    )


def models() -> Call[tuple[ServedModel, ...]]:
    """Asks what is served."""
    return Call("GET", "/v1/models", lambda status, document: tuple(map(_served_model, document["models"])))


def ready() -> Call[bool]:
    """Asks whether predictions would be answered; a proxy that has no replica behind it says 503 as well."""
    return Call("GET", "/readyz", lambda status, document: status == 200, answered_by=frozenset({200, 503}))


def decode(content: bytes) -> Any:
    """The JSON of an answer, None where it is none: what a proxy answers by itself is HTML, or text, or empty."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _content(image: Image) -> bytes:
    if isinstance(image, bytes):
        return image
    try:
        return image.read_bytes()
    except (OSError, ValueError) as error:  # the latter for a name with a NUL byte
        raise DataError(f"{image}: cannot be read: {system_reason(error)}") from None


def _multipart(images: Sequence[bytes], fields: Mapping[str, str]) -> tuple[str, bytes]:
    """httpx forms the body, once for all attempts. The parts tell no file names: those are the caller's own affair."""
    files = [
        ("images", (f"image-{index}", content, "application/octet-stream")) for index, content in enumerate(images)
    ]
    request = httpx.Request("POST", "http://endpoint", files=files, data=dict(fields))
    return request.headers["content-type"], request.read()


def _prediction(one: Any, document: Any) -> Prediction:
    embedding = _embedding(one["embedding"]) if "embedding" in one else None
    return Prediction(
        classes=() if embedding else _classes(one["classes"]),
        model=str(document["model"]),
        version=str(document["version"]),
        request_id=str(document["request_id"]),
        indoor_outdoor=one.get("indoor_outdoor"),
        category=tuple(one.get("category") or ()),
        abstained=bool(one["abstained"]) if "abstained" in one else None,
        given_labels=_guesses(one["given_labels"]) if "given_labels" in one else None,
        heat_map=_heat_map(one["heat_map"]) if one.get("heat_map") else None,
        embedding=embedding,
        timings_ms={str(name): float(ms) for name, ms in document.get("timings_ms", {}).items()},
    )


def _embedding(found: Any) -> tuple[float, ...]:
    values = tuple(map(float, found))
    if not values or not all(map(math.isfinite, values)):
        raise ValueError("an embedding must be numbers")
    return values


def _classes(found: Any) -> tuple[Guess, ...]:
    classes = _guesses(found)
    if not classes:
        raise ValueError("there must be classes, each with a probability")
    return classes


def _guesses(found: Any) -> tuple[Guess, ...]:
    guesses = tuple(Guess(str(each["label"]), float(each["probability"])) for each in found)
    if not all(0 <= each.probability <= 1 for each in guesses):  # NaN neither
        raise ValueError("there must be classes, each with a probability")
    return guesses


def _heat_map(found: Any) -> HeatMap:
    try:
        return HeatMap(str(found["label"]), base64.b64decode(found["png"], validate=True))
    except binascii.Error as error:
        raise ValueError(f"the heat map: {error}") from None


def _served_model(found: Any) -> ServedModel:
    return ServedModel(
        name=str(found["name"]),
        versions=tuple(
            ServedVersion(
                version=str(each["version"]),
                weight=float(each["weight"]),
                url=str(each["url"]),
                precision=str(each["precision"]),
                arch=None if each["arch"] is None else str(each["arch"]),
            )
            for each in found["versions"]
        ),
        label_count=int(found["labels"]),
        image_size=int(found["image_size"]),
        explains=bool(found["explains"]),
        coordinates=bool(found.get("coordinates", False)),  # which an older endpoint does not say
        task=str(found.get("task", "classification")),  # nor this
    )
