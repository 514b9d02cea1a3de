"""Routes: which request a protocol answers, by what, and how that is described."""

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from serve.errors import ErrorKind, RequestError
from serve.http.json_body import adapter
from serve.http.operation import EXAMPLE_MODEL, Operation
from serve.http.request import HttpRequest
from serve.http.response import HttpResponse
from serve.metered import Metered

_NAME = re.compile(r"\{(\w+)\}")


Respond = Callable[[HttpRequest, Metered], Awaitable[HttpResponse]]
"""Answers a request. May raise RequestError, ClientGoneError, and what the models raise."""


@dataclass(frozen=True)
class Route:
    """One address of a protocol, and its method."""

    method: Literal["GET", "POST"]
    """What takes GET takes HEAD."""
    path: str
    """Such as `/v1/models/{model}:predict`: a name in braces stands for text without slash and colon."""
    respond: Respond
    """Answers a request."""
    describe: Callable[[str], Operation]
    """The description, for examples with the model of this name."""
    is_open: bool = False
    """Whether it needs no API key: it says nothing that is secret."""

    @property
    def methods(self) -> tuple[str, ...]:
        """The HTTP methods that it takes."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)

    @property
    def parameters(self) -> list[str]:
        """The names in its path."""
        return _NAME.findall(self.path)


@dataclass(frozen=True)
class Tag:
    """A group of operations in the document."""

    name: str
    description: str


class HttpProtocol(Protocol):
    """What the API is given to serve."""

    tags: Sequence[Tag]
    """The groups of its operations."""

    def routes(self) -> Sequence[Route]:
        """All that it answers; the one that is asked most comes first."""
        ...


class Router:
    """Finds the route of a request.

    Args:
        routes: no two of one path.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._plain: dict[str, Route] = {}
        self._patterns: list[tuple[re.Pattern[str], Route]] = []
        for route in routes:
            if route.parameters:
                pattern = _NAME.sub(r"(?P<\1>[^/:]+)", re.escape(route.path).replace(r"\{", "{").replace(r"\}", "}"))
                self._patterns.append((re.compile(pattern), route))
            else:
                self._plain[route.path] = route
            for body_type in route.describe(EXAMPLE_MODEL).document_types():
                adapter(body_type)  # made now: the first request need not wait for it

    def find(self, request: HttpRequest) -> Route:
        """The route of a request, whose `parameters` it sets. A slash at the end of the path changes nothing.

        Raises RequestError (404, 405).
        """
        route = self._match(request)
        if request.method not in route.methods:
            allowed = ", ".join(route.methods)
            message = f"{request.method} is not for this address: use {route.method}"
            raise RequestError(ErrorKind.METHOD_NOT_ALLOWED, message, {"allow": allowed})
        return route

    def _match(self, request: HttpRequest) -> Route:
        path = request.path.rstrip("/") or "/"
        if plain := self._plain.get(path):
            return plain
        for pattern, route in self._patterns:
            if match := pattern.fullmatch(path):
                request.parameters = match.groupdict()
                return route
        raise RequestError(ErrorKind.NOT_FOUND, f"nothing is at {request.path[:80]!r}: /docs shows what there is")
