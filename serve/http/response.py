"""What a request gets by HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field
from starlette.types import Send

from serve.errors import ErrorKind, RequestError
from serve.http.json_body import JsonBody


@dataclass
class ErrorBody(JsonBody):
    """Every error is such a document, whatever was asked."""

    error: Annotated[str, Field(pattern=r"^[^\r\n]+$")]
    """One line for people: what is wrong, and the remedy."""
    code: Annotated[str, Field(json_schema_extra={"enum": list(dict.fromkeys(kind.code for kind in ErrorKind))})]
    """For programs; codes do not change."""
    request_id: str
    """Finds the request in the server's log."""


@dataclass(frozen=True)
class HttpResponse:
    """Status, body and headers of an answer."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers beside those of the content."""

    @classmethod
    def of(cls, body: JsonBody, status: int = 200, headers: Mapping[str, str] | None = None) -> "HttpResponse":
        """The answer that is this document."""
        return cls(status, body.to_json(), headers=headers or {})

    @classmethod
    def of_error(cls, error: RequestError, request_id: str) -> "HttpResponse":
        """The answer that is this error."""
        # A message may quote what the caller sent, and that need not be text in full.
        message = error.message.encode(errors="replace").decode()
        return cls.of(ErrorBody(message, error.code, request_id), error.status, error.headers)

    async def send(self, send: Send, headers: Mapping[str, str], with_body: bool = True) -> None:
        """Sends it to the caller, with these headers and those of its content."""
        raw = [
            (b"content-type", self.content_type.encode()),
            (b"content-length", str(len(self.body)).encode()),
            *((name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()),
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": raw})
        await send({"type": "http.response.body", "body": self.body if with_body else b""})
