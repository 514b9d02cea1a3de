"""What a request gets that cannot be answered: a status, a code for programs and a line for people.

`ErrorKind` is the one table of them: what the server answers, what gRPC says and the OpenAPI document come from it.
"""

from collections.abc import Mapping
from enum import Enum

from scenerec.data.picture import FORMAT_NAMES, PictureError, TooManyPixelsError, UnknownFormatError
from scenerec.inference.predictors.engine import ClosedError, ExpiredError, OverloadedError

RETRY_AFTER_S = 1
"""What a caller is told to wait for a busy server: it is idle again within a batch or two."""

_LONGEST_QUOTE = 40

STATUSES: Mapping[int, str] = {
    400: "The request cannot be understood, or an image of it does not decode.",
    401: "No API key, or one that the server does not know; only where it asks for keys.",
    404: "The server has no such model, version or address.",
    405: "The address is right, the method is not.",
    408: "The body did not arrive in time.",
    413: "More bytes or more images than are taken at once.",
    415: "The bytes are of no kind of image that is read. What counts is the content, not the Content-Type.",
    422: "The request is understood, and cannot be met.",
    429: "The caller sends more images than its key allows.",
    500: "The server's own failure. Its log has more, by the request id.",
    503: "The server is busy, or has nothing to serve yet. To send the same request again is safe.",
    504: "There was no answer in time.",
}
"""HTTP statuses of errors, and what each means."""

STATUS_HEADERS: Mapping[int, str] = {
    401: "www-authenticate",
    405: "allow",
    429: "retry-after",
    503: "retry-after",
}
"""The header that every error of a status brings, beside those of all answers."""


class ErrorKind(Enum):
    """All errors that an answer may be: HTTP status, code, and an example of the message."""

    BAD_JSON = (400, "bad_json", 'the body is not JSON: send {"images": ["<base64>"]}')
    BAD_MULTIPART = (400, "bad_multipart", "the form is cut off: its last boundary is missing")
    EMPTY_BODY = (400, "empty_body", f"the body is empty: send the bytes of a {FORMAT_NAMES} image")
    BAD_PARAMETER = (400, "bad_parameter", "top_k: must be a whole number from 1 to 1000")
    DAMAGED_IMAGE = (400, "damaged_image", "cannot be decoded: image file is truncated")
    BAD_TENSOR = (400, "bad_tensor", "images: must be of the shape [batch, 224, 224, 3]")
    UNAUTHORIZED = (401, "unauthorized", "this API key is not known here")
    UNKNOWN_MODEL = (404, "unknown_model", "no model 'photo' is served here; there are: photos")
    UNKNOWN_VERSION = (404, "unknown_version", "version '9' of photos is not served; there are: 3")
    NOT_FOUND = (404, "not_found", "nothing is at '/v1/model': /docs shows what there is")
    METHOD_NOT_ALLOWED = (405, "method_not_allowed", "GET is not for this address: use POST")
    BODY_TIMED_OUT = (408, "timed_out", "the body did not arrive within 60 s")
    BODY_TOO_LARGE = (413, "body_too_large", "the request is larger than 20 MB: send a smaller image, or fewer at once")
    UNSUPPORTED_IMAGE = (415, "unsupported_image", f"not a {FORMAT_NAMES} image")
    TOO_MANY_PIXELS = (422, "too_many_pixels", "20000 x 20000 pixels: at most 50 million are taken: scale it down")
    NO_HEAT_MAP = (422, "no_heat_map", "the network has no global pooling before its head: leave out `explain`")
    RATE_LIMITED = (429, "rate_limited", "shop may send 20 images/s: wait 0.4 s")
    INTERNAL = (500, "internal", "the server failed to answer: its log says why, by the request id")
    OVERLOADED = (503, "overloaded", "64 images are waiting already: try again later")
    NOT_READY = (503, "not_ready", "the model is being replaced: try again")
    ANSWER_TIMED_OUT = (504, "timed_out", "no answer within 10 s")

    def __init__(self, status: int, code: str, example: str) -> None:
        self.status = status
        """HTTP status."""
        self.code = code
        """Name for programs, in snake case; it does not change, they may depend on it."""
        self.example = example
        """A message that it may come with."""


class RequestError(Exception):
    """A request that is answered with an error.

    Args:
        kind: what is wrong.
        message: the same for people, in one line, with the remedy.
        headers: further headers of the answer.
    """

    def __init__(self, kind: ErrorKind, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.headers: Mapping[str, str] = headers or {}

    @property
    def status(self) -> int:
        """HTTP status of the answer."""
        return self.kind.status

    @property
    def code(self) -> str:
        """Name of the error for programs."""
        return self.kind.code


class NotServedError(RequestError):
    """A model, or a version of it, that is not on the shelf."""


def short(text: str) -> str:
    """What a caller sent, quoted and cut, for an error message."""
    return repr(text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…")


def retry_later(kind: ErrorKind, message: str, after_s: int = RETRY_AFTER_S) -> RequestError:
    """An error that goes away by itself, with the header that says when."""
    return RequestError(kind, message, {"retry-after": str(after_s)})


def body_too_large(limit_bytes: int, remedy: str, headers: Mapping[str, str] | None = None) -> RequestError:
    """The error of a request with more bytes than the limit."""
    message = f"the request is larger than {limit_bytes / 1e6:g} MB: {remedy}"
    return RequestError(ErrorKind.BODY_TOO_LARGE, message, headers)


def as_request_error(error: Exception) -> RequestError:
    """The answer to whatever went wrong; what is not meant for callers becomes a plain 500."""
    if isinstance(error, RequestError):
        return error
    message = " ".join(str(error).split())
    match error:
        case UnknownFormatError():
            return RequestError(ErrorKind.UNSUPPORTED_IMAGE, message)
        case TooManyPixelsError():
            return RequestError(ErrorKind.TOO_MANY_PIXELS, message)
        case PictureError():
            return RequestError(ErrorKind.DAMAGED_IMAGE, message)
        case OverloadedError():
            return retry_later(ErrorKind.OVERLOADED, message)
        case ClosedError():
            return retry_later(ErrorKind.NOT_READY, message)
        case ExpiredError():
            return RequestError(ErrorKind.ANSWER_TIMED_OUT, message)
        case _:
            return RequestError(ErrorKind.INTERNAL, ErrorKind.INTERNAL.example)
