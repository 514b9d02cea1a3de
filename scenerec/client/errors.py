"""What an endpoint refuses or fails to do: one class where a caller would do something of its own."""

from scenerec.errors import ScenerecError


class EndpointError(ScenerecError):
    """An endpoint that answered with an error, with something unintelligible, or not at all.

    Args:
        message: what is wrong, and the remedy, in one line.
        status: of the HTTP answer; None where there was none.
        code: the endpoint's word for it, such as `damaged_image`; `http_502` and the like where a proxy before it
            answered; `unreachable`, `timed_out` and `bad_answer` are this client's words.
        request_id: under which the endpoint's log has it; empty where no request was made.
        retry_after_s: how long to wait before another try, where the endpoint told.
    """

    exit_code = 10

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str = "",
        request_id: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after_s = retry_after_s


class UnreachableError(EndpointError):
    """No connection, or none that lasted until the answer was there, after all retries."""


class TimedOutError(EndpointError):
    """No answer in time: by the endpoint's clock (status 504) or by the client's (no status)."""


class UnauthorizedError(EndpointError):
    """No API key, or one that the endpoint does not know."""


class UnknownModelError(EndpointError):
    """A model, or a version of it, that is not served there."""


class BadImageError(EndpointError):
    """Bytes that the endpoint cannot or will not decode: no image, damaged, or too large."""


class RateLimitedError(EndpointError):
    """More requests than this API key may make, after all retries."""


class OverloadedError(EndpointError):
    """More requests than the endpoint takes, or none yet, after all retries."""


_OF_CODE: dict[str, type[EndpointError]] = {
    "unknown_model": UnknownModelError,
    "unknown_version": UnknownModelError,
    "damaged_image": BadImageError,
    "empty_body": BadImageError,
    "body_too_large": BadImageError,
    "unsupported_image": BadImageError,
    "too_many_pixels": BadImageError,
}
_OF_STATUS: dict[int, type[EndpointError]] = {
    401: UnauthorizedError,
    403: UnauthorizedError,
    413: BadImageError,  # a proxy before the endpoint may have a limit of its own
    429: RateLimitedError,
    503: OverloadedError,
    504: TimedOutError,
}


def error_class(status: int, code: str) -> type[EndpointError]:
    """The class of an error that an endpoint, or a proxy before it, answered with."""
    return _OF_CODE.get(code) or _OF_STATUS.get(status, EndpointError)
