"""HTTP requests on ASGI, without a framework: what is not needed costs nothing."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope

from serve.access.admission import RequestLimits
from serve.errors import ErrorKind, RequestError, body_too_large
from serve.http.compression import decompressed

LONGEST_ID = 128
"""Characters of a request id that a caller may choose."""
_MOST_DIGITS = 18
_READ_ON = 4  # times the limit: what is still read, and forgotten, of a body that is too large


def accepted_id(given: str) -> str:
    """The id that a caller gave its request; a new one where that is empty, too long or not printable."""
    if given.isprintable() and 0 < len(given) <= LONGEST_ID:
        return given
    return f"{random.getrandbits(64):016x}"  # it is no secret, and so needs no system call


class ClientGoneError(Exception):
    """The caller has hung up before its request was complete: there is nobody to answer."""


@dataclass
class HttpRequest:
    """One HTTP request.

    Attributes:
        method: in capitals.
        path: decoded, below the prefix that the application is mounted at.
        headers: by lower-case name, of several of one name the last.
        id: of `x-request-id`, or a new one.
        parameters: what stands in the path for the names of its route, such as `model`.
    """

    method: str
    path: str
    query_string: bytes
    headers: Mapping[str, str]
    id: str
    receive: Receive = field(repr=False)
    parameters: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_scope(cls, scope: Scope, receive: Receive) -> "HttpRequest":
        """The request of an ASGI connection of type http."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
        request_id = accepted_id(headers.get("x-request-id", ""))
        return cls(scope["method"], path, scope.get("query_string", b""), headers, request_id, receive)

    @cached_property
    def query(self) -> Mapping[str, str]:
        """Parameters of the address after its `?`, of several of one name the last."""
        return dict(parse_qsl(self.query_string.decode("latin-1"), keep_blank_values=True))

    @property
    def credentials(self) -> tuple[str, str]:
        """The headers authorization and x-api-key, "" for one that is missing."""
        return self.headers.get("authorization", ""), self.headers.get("x-api-key", "")

    @property
    def content_type(self) -> str:
        """Media type of the body, without its parameters, in lower case; "" where none is given."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def body(self, limits: RequestLimits) -> bytes:
        """The whole body, unpacked where it is sent compressed.

        Raises RequestError, for one that is too large (none of which is kept where its length is given), for one that
        arrives drop by drop, and as `decompressed` does; ClientGoneError.
        """
        declared = self.headers.get("content-length", "")
        # A number of more digits is larger than any body, and Python makes no number of very many.
        length = int(declared[:_MOST_DIGITS]) if declared.isdecimal() else 0
        try:
            async with asyncio.timeout(limits.body_timeout_s):
                body = await self._read(limits.body_bytes, length)
        except TimeoutError:
            message = f"the body did not arrive within {limits.body_timeout_s:g} s"
            raise RequestError(ErrorKind.BODY_TIMED_OUT, message, {"connection": "close"}) from None
        encoding = self.headers.get("content-encoding")
        return decompressed(body, encoding, limits.body_bytes) if encoding else body

    async def _read(self, limit_bytes: int, declared_bytes: int) -> bytes:
        """The whole body; RequestError for one that is too large, of which some is read on, and forgotten.

        Many a caller reads no answer before it has sent all, and finds a closed connection; but not the one that asks
        before it sends (`Expect`).
        """
        most = limit_bytes if self.headers.get("expect") else (1 + _READ_ON) * limit_bytes
        parts: list[bytes] = []
        size, is_complete = 0, False
        while not is_complete and max(size, declared_bytes) <= most:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            is_complete = not message.get("more_body", False)
            if max(size, declared_bytes) > limit_bytes:
                parts.clear()
        if max(size, declared_bytes) > limit_bytes:
            headers = {"connection": "close"}
            raise body_too_large(limit_bytes, "send a smaller image, or fewer at once", headers)
        return parts[0] if len(parts) == 1 else b"".join(parts)
