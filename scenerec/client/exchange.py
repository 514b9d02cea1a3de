"""The course of a call: attempts, pauses, and the result or the error at its end. No I/O: both clients share it.

`Exchange.steps` is a generator: it yields what is to be done (`SendStep`, `PauseStep`), and is sent what came of it.
"""

import random
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx

from scenerec import __version__
from scenerec.client.backoff import pause_s
from scenerec.client.call import Call, decode
from scenerec.client.errors import EndpointError, TimedOutError, UnreachableError, error_class
from scenerec.errors import ConfigError, system_reason

Result = TypeVar("Result")

LARGEST_ANSWER_BYTES = 256 << 20
"""More is no answer of an endpoint: some bytes that are compressed well become as many as there is memory."""

LONGEST_CONNECT_S = 5.0
"""An address that lets connections hang is tried again after this, not awaited until the deadline."""

CONNECTION_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=100)
"""Connections of a client: further requests wait for one, and none is closed for being idle a moment."""

_RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504})
_LONGEST_QUOTE = 200
_LONGEST_MESSAGE = 1000


@dataclass(frozen=True)
class SendStep:
    """A step to be done: send this request, and send back an EndpointResponse or a NoResponse."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    remaining_s: float
    """Seconds until the answer must be there."""

    @property
    def timeout(self) -> httpx.Timeout:
        """Time-outs of each operation on the connection. The whole is the client's to watch."""
        return httpx.Timeout(self.remaining_s, connect=min(self.remaining_s, LONGEST_CONNECT_S))


@dataclass(frozen=True)
class PauseStep:
    """A step to be done: wait, and send back None."""

    seconds: float


@dataclass(frozen=True)
class EndpointResponse:
    """What the endpoint, or a proxy before it, answered."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True)
class NoResponse:
    """Why there is no response."""

    reason: str
    """What went wrong, in a few words."""
    timed_out: bool = False
    """Whether it was the deadline."""
    may_pass: bool = True
    """Whether another attempt could fare better."""


TOO_LARGE = NoResponse(f"answers with more than {LARGEST_ANSWER_BYTES >> 20} MB", may_pass=False)
"""The outcome of an attempt whose answer was too large to be read."""

Outcome = EndpointResponse | NoResponse | None
"""What came of a step: None of a pause."""


SEND_ERRORS = (httpx.RequestError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError)
"""What ends an attempt: the deadline's TimeoutError, and all that httpx raises or lets through."""


@contextmanager
def settings_errors() -> Iterator[None]:
    """Turns what httpx raises for proxies and certificates that the environment names into ConfigError."""
    try:
        yield
    except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
        variables = "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR"
        reason = system_reason(error)
        raise ConfigError(f"endpoint: a proxy or certificate of the environment ({variables}): {reason}") from None


def no_response(error: Exception) -> NoResponse:
    """The outcome of an attempt that ended in this one of `SEND_ERRORS`."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return NoResponse(f"cannot be reached: {system_reason(error)}")
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return NoResponse("timed out", timed_out=True)
    if isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError):
        return NoResponse(f"the connection broke off: {system_reason(error)}")
    return NoResponse(system_reason(error), may_pass=False)


@dataclass(frozen=True)
class Exchange:
    """An endpoint, and how patiently it is asked.

    Args:
        url: address of the endpoint, http or https, with the path under which a proxy may have it.
        api_key: sent as a bearer token; None for an endpoint without keys.
        timeout_s: seconds that a call may take, all its attempts and pauses together.
        retries: attempts after the first, where another one may help.

    Raises ConfigError for an address or a key that cannot be used.
    """

    url: str
    api_key: str | None
    timeout_s: float
    retries: int

    def __post_init__(self) -> None:
        try:
            url = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise ConfigError(f"endpoint {self.url}: {error}") from None
        if url.userinfo:
            raise ConfigError(f"endpoint at {url.host}: its address holds a password: give an API key instead")
        is_usable = url.scheme in ("http", "https") and url.host and (url.port or 0) < 1 << 16
        if not is_usable or url.query or url.fragment:
            raise ConfigError(f"endpoint {self.url}: is not an address such as http://localhost:8000")
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.isprintable() and self.api_key):
            raise ConfigError("API key: is empty, or has a line break or another character that no header can carry")
        if self.timeout_s <= 0 or self.retries < 0:
            raise ConfigError("endpoint: timeout_s must be above 0, and retries at least 0")

    def steps(
        self, call: Call[Result], clock: Callable[[], float] = time.monotonic, draw: Callable[[], float] = random.random
    ) -> Generator[SendStep | PauseStep, Outcome, Result]:
        """Attempts under one request id until there is a result. Raises the error of the last one."""
        request_id = uuid.uuid4().hex
        deadline = clock() + self.timeout_s
        attempt = 0
        while True:
            outcome = yield self._send(call, request_id, deadline - clock())
            if isinstance(outcome, EndpointResponse) and outcome.status in call.answered_by:
                return self._read(call, outcome, request_id)
            assert outcome is not None, "a SendStep is answered"
            error = self._error(outcome, request_id)
            pause = (
                pause_s(attempt, self.retries, error.retry_after_s, deadline - clock(), draw())
                if _may_pass(outcome)
                else None
            )
            if pause is None:
                raise error
            yield PauseStep(pause)
            if clock() >= deadline:  # the pause took longer than it should have
                raise error
            attempt += 1

    def _send(self, call: Call[Any], request_id: str, remaining_s: float) -> SendStep:
        query = str(httpx.QueryParams(call.query))
        headers = {
            "accept": "application/json",
            "user-agent": f"scenerec/{__version__}",
            "x-request-id": request_id,
            **call.headers,
        }
        if self.api_key is not None:
            headers["authorization"] = f"Bearer {self.api_key}"
        url = self.url.rstrip("/") + call.path + (f"?{query}" if query else "")
        return SendStep(call.method, url, headers, call.body, remaining_s)

    def _read(self, call: Call[Result], answer: EndpointResponse, request_id: str) -> Result:
        try:
            return call.read(answer.status, decode(answer.content))
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
            raise EndpointError(
                f"{self.url}: answers what no scenerec endpoint would: {_quoted(answer.content)}",
                status=answer.status,
                code="bad_answer",
                request_id=request_id,
            ) from None

    def _error(self, outcome: EndpointResponse | NoResponse, request_id: str) -> EndpointError:
        if isinstance(outcome, NoResponse):
            if outcome.timed_out:
                return TimedOutError(
                    f"{self.url}: no answer in {self.timeout_s:g} s", code="timed_out", request_id=request_id
                )
            return UnreachableError(
                f"{self.url}: {one_line(outcome.reason)}", code="unreachable", request_id=request_id
            )
        document = decode(outcome.content)
        told = document if isinstance(document, dict) and "error" in document else {}
        code = str(told.get("code") or f"http_{outcome.status}")
        return error_class(outcome.status, code)(
            one_line(str(told.get("error") or "")) or self._unexplained(outcome),
            status=outcome.status,
            code=code,
            request_id=str(told.get("request_id") or request_id),
            retry_after_s=retry_after_s(outcome.headers.get("retry-after"), datetime.now(UTC)),
        )

    def _unexplained(self, answer: EndpointResponse) -> str:
        """The message of an answer without the endpoint's JSON."""
        if 300 <= answer.status < 400 and (location := answer.headers.get("location")):
            return f"{self.url}: redirects to {one_line(location)}: give the endpoint's own address"
        phrase = httpx.codes.get_reason_phrase(answer.status)
        return f"{self.url}: {answer.status} {phrase}".rstrip()


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """Seconds of a Retry-After header, which gives them or a date; None where it is absent or neither."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        at = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    return max((at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds(), 0.0)


def _may_pass(outcome: EndpointResponse | NoResponse) -> bool:
    return outcome.may_pass if isinstance(outcome, NoResponse) else outcome.status in _RETRIED_STATUSES


def one_line(text: str) -> str:
    """Whatever an endpoint says, or a proxy before it: one line, without what a terminal would obey."""
    kept = "".join(each if each.isprintable() else " " for each in text[:_LONGEST_MESSAGE])
    return " ".join(kept.split())


def _quoted(content: bytes) -> str:
    return one_line(content[:_LONGEST_QUOTE].decode("utf-8", "replace")) or "nothing"
