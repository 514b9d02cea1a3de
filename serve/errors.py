"""What a request gets that cannot be answered: a status, a code for programs and a line for people."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from scenerec.errors import ScenerecError
from scenerec.inference.predictors.engine import ClosedError, ExpiredError, OverloadedError
from scenerec.inference.predictors.photograph import (
    DamagedImageError,
    PhotographError,
    TooManyPixelsError,
    UnknownFormatError,
)

RETRY_AFTER_S = 1
"""What a caller is told to wait for a busy server: it is idle again within a batch or two."""


@dataclass
class RequestError(Exception):
    """An answer that is an error."""

    status: int
    """HTTP status."""
    code: str
    """In snake case; it does not change, a program may depend on it."""
    message: str
    """One line: what is wrong, and the remedy."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further headers of the answer."""

    def __str__(self) -> str:
        return self.message


class ModelNotServedError(RequestError):
    """No model of this name is served."""

    def __init__(self, model: str, known: list[str]) -> None:
        super().__init__(404, "unknown_model", f"no model {model!r} is served here; there are: {', '.join(known)}")


class VersionNotServedError(RequestError):
    """This version of the model is not served."""

    def __init__(self, model: str, number: str, known: list[str]) -> None:
        super().__init__(
            404, "unknown_version", f"version {number!r} of {model} is not served; there are: {', '.join(known)}"
        )


def retry_later(status: int, code: str, message: str, after_s: int = RETRY_AFTER_S) -> RequestError:
    """An error that goes away by itself."""
    return RequestError(status, code, message, {"retry-after": str(after_s)})


def as_request_error(error: Exception) -> RequestError:
    """The answer to whatever went wrong; what is not meant for callers becomes a plain 500."""
    if isinstance(error, RequestError):
        return error
    message = " ".join(str(error).split())
    match error:
        case UnknownFormatError():
            return RequestError(415, "unsupported_image", message)
        case TooManyPixelsError():
            return RequestError(422, "too_many_pixels", message)
        case DamagedImageError() | PhotographError():
            return RequestError(400, "damaged_image", message)
        case OverloadedError():
            return retry_later(503, "overloaded", message)
        case ClosedError():
            return retry_later(503, "not_ready", message)
        case ExpiredError():
            return RequestError(504, "timed_out", message)
        case ScenerecError() | _:
            return RequestError(500, "internal", "the server failed to answer: its log says why, by the request id")
