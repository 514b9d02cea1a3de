"""Of the OpenAPI document: the errors that a request can get, the headers of answers, the examples."""

from collections.abc import Sequence
from typing import Any

Part = dict[str, Any]

EXAMPLE_MODEL = "photos"
EXAMPLE_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAFUlEQVR42mO8E6DBgA0wMeAAg1MCAA7DAWRGHDu6AAAAAElFTkSuQmCC"
"""A red picture of 8 x 8 pixels, base64: an example that can be sent as it is."""

ERRORS: dict[int, tuple[str, dict[str, str]]] = {
    400: (
        "The request cannot be understood, or an image of it does not decode.",
        {
            "bad_json": 'the body is not JSON: send {"images": ["<base64>"]}',
            "bad_multipart": "the form is cut off: its last boundary is missing",
            "empty_body": "the body is empty: send the bytes of a JPEG, PNG or WebP image",
            "bad_parameter": "top_k: must be a whole number from 1 to 1000",
            "damaged_image": "cannot be decoded: image file is truncated",
            "bad_tensor": "images: must be of the shape [batch, 224, 224, 3]",
        },
    ),
    401: (
        "No API key, or one that the server does not know; only where it asks for keys.",
        {"unauthorized": "this API key is not known here"},
    ),
    404: (
        "The server has no such model, version or address.",
        {
            "unknown_model": "no model 'photo' is served here; there are: photos",
            "unknown_version": "version '9' of photos is not served; there are: 3",
            "not_found": "nothing is at '/v1/model': /docs shows what there is",
        },
    ),
    405: (
        "The address is right, the method is not.",
        {"method_not_allowed": "GET is not for this address: use POST"},
    ),
    408: ("The body did not arrive in time.", {"timed_out": "the body did not arrive within 60 s"}),
    413: (
        "More bytes or more images than are taken at once.",
        {"body_too_large": "the request is larger than 20 MB: send a smaller image, or fewer at once"},
    ),
    415: (
        "The bytes are of no kind of image that is read. What counts is the content, not the Content-Type.",
        {"unsupported_image": "not a JPEG, PNG or WebP image"},
    ),
    422: (
        "The request is understood, and cannot be met.",
        {
            "too_many_pixels": "20000 x 20000 pixels: at most 50 million are taken",
            "no_heat_map": "the network has no global pooling before its head: leave out `explain`",
        },
    ),
    429: (
        "The caller sends more images than its key allows.",
        {"rate_limited": "shop may send 20 images/s: wait 0.4 s"},
    ),
    500: (
        "The server's own failure. Its log has more, by the request id.",
        {"internal": "the server failed to answer: its log says why, by the request id"},
    ),
    503: (
        "The server is busy, or has nothing to serve yet. To send the same request again is safe.",
        {
            "overloaded": "64 images are waiting already: try again later",
            "not_ready": "the model is being replaced: try again",
        },
    ),
    504: ("There was no answer in time.", {"timed_out": "no answer within 10 s"}),
}
"""By status: what it means, and its codes with an example of their message."""

_BUSY = (429, 503)


def content(schema: Part, **more: Any) -> Part:
    """A body of JSON."""
    return {"application/json": {"schema": schema, **more}}


def ref(kind: str, name: str) -> Part:
    """A reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def schema_ref(name: str) -> Part:
    """A reference to a schema."""
    return ref("schemas", name)


def success(description: str, schema: str, example: Any) -> Part:
    """The answer 200 with a JSON document."""
    return {
        "description": description,
        "headers": _headers(200),
        "content": content(schema_ref(schema), example=example),
    }


def plain(description: str, media_type: str) -> Part:
    """The answer 200 with a document of another type."""
    schema = {"type": "string"}
    return {"description": description, "headers": _headers(200), "content": {media_type: {"schema": schema}}}


def errors(*statuses: int) -> Part:
    """References to the answers of these statuses."""
    return {str(status): ref("responses", str(status)) for status in statuses}


def error_responses() -> Part:
    """The component that `errors` refers to."""
    return {str(status): _error_response(status) for status in ERRORS}


def error_codes() -> list[str]:
    """All that there are."""
    return list(dict.fromkeys(code for _, codes in ERRORS.values() for code in codes))


def headers() -> Part:
    """The component of the answers' headers."""
    return {
        "request-id": {
            "description": "The request's `x-request-id`, or one that the server made: it finds it in the log.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 128},
        },
        "retry-after": {
            "description": "Seconds to wait before the next try.",
            "schema": {"type": "integer", "minimum": 1},
        },
        "www-authenticate": {"description": "How to give a key.", "schema": {"type": "string", "const": "Bearer"}},
        "allow": {"description": "Methods of this address.", "schema": {"type": "string"}},
    }


def curl(command: str, data: Sequence[str] = ()) -> list[Part]:
    """A request in the shell, as ReDoc's extension x-codeSamples. `$URL` is where the server is."""
    return [{"lang": "Shell", "label": "curl", "source": " \\\n  ".join((f"curl {command}", *data))}]


def _headers(status: int) -> Part:
    found = {"x-request-id": ref("headers", "request-id")}
    if status == 401:
        found["www-authenticate"] = ref("headers", "www-authenticate")
    if status == 405:
        found["allow"] = ref("headers", "allow")
    if status in _BUSY:
        found["retry-after"] = ref("headers", "retry-after")
    return found


def _error_response(status: int) -> Part:
    description, codes = ERRORS[status]
    of_these_codes = {"properties": {"code": {"enum": list(codes)}}}
    examples = {
        code: {"value": {"error": message, "code": code, "request_id": "5c1e6f0b9d3a7e42"}}
        for code, message in codes.items()
    }
    return {
        "description": description,
        "headers": _headers(status),
        "content": content({"allOf": [schema_ref("Error"), of_these_codes]}, examples=examples),
    }
