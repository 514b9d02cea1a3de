"""The pages for people at / and /docs, and the OpenAPI document that the second reads to them."""

import json
from collections.abc import Callable, Sequence

from serve.http.operation import DescribedAnswer, Operation, Part, curl
from serve.http.request import HttpRequest
from serve.http.response import HttpResponse
from serve.http.route import Respond, Route, Tag
from serve.metered import Metered
from serve.pages.html import CONTENT_SECURITY_POLICY, DOCS_HTML, INDEX_HTML
from serve.shelf import Shelf

_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
_PAGE = DescribedAnswer("The page.", content={"text/html": {"type": "string"}})
_DOCUMENT = DescribedAnswer(
    "An OpenAPI 3.1 document.",
    content={"application/json": {"type": "object", "required": ["openapi", "info", "paths"]}},
)


class Pages:
    """Answers /, /docs and /openapi.json, to whoever asks.

    Args:
        openapi: makes the document of the whole API, for models of these names.
        shelf: what is served; who lacks the API key that the server asks for is not told their names.
    """

    tags: Sequence[Tag] = (Tag("pages", "For people, and this document. These need no key."),)

    def __init__(self, openapi: Callable[[Sequence[str]], Part], shelf: Shelf) -> None:
        self._openapi = openapi
        self._shelf = shelf

    def routes(self) -> Sequence[Route]:
        """The pages and the document."""
        return (
            _route("/", _page(INDEX_HTML), "page", "Try the models out", _PAGE),
            _route("/docs", _page(DOCS_HTML), "docs", "This description, for people", _PAGE),
            _route("/openapi.json", self._description, "description", "This description", _DOCUMENT),
        )

    async def _description(self, request: HttpRequest, metered: Metered) -> HttpResponse:
        names = self._shelf.names() if metered.guard.admits(*request.credentials) else []
        return HttpResponse(200, json.dumps(self._openapi(names)).encode())


def _page(html: bytes) -> Respond:
    async def respond(request: HttpRequest, metered: Metered) -> HttpResponse:
        return HttpResponse(200, html, "text/html; charset=utf-8", _HEADERS)

    return respond


def _route(path: str, respond: Respond, name: str, summary: str, answer: DescribedAnswer) -> Route:
    operation = Operation(name, "pages", summary, answer, errors=(405,), samples=curl(f"$URL{path}"))
    return Route("GET", path, respond, lambda model: operation, is_open=True)
