"""The HTTP interface as an ASGI application, without a framework and without Ray: protocols, and what all share.

`serve.replica` runs it in Ray Serve; any ASGI server can run it bare.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from serve.access_record import AccessRecord
from serve.errors import as_request_error
from serve.http.health import Health
from serve.http.openapi import openapi
from serve.http.request import ClientGoneError, HttpRequest
from serve.http.response import HttpResponse
from serve.http.route import HttpProtocol, Router
from serve.interface import Interface
from serve.oip.rest import InferenceProtocol
from serve.pages.pages import Pages
from serve.v1.protocol import SceneProtocol

logger = logging.getLogger(__name__)


@dataclass(eq=False, repr=False)
class Api(Interface):
    """The ASGI application."""

    adds_request_id: bool = True
    """Whether x-request-id goes into the answers; Ray Serve adds it by itself."""

    def __post_init__(self) -> None:
        self.protocols: Sequence[HttpProtocol] = (
            SceneProtocol(self.shelf, self.draw),
            Health(self.shelf),
            InferenceProtocol(self.shelf, self.draw),
            Pages(lambda names: openapi(self.protocols, names), self.shelf),
        )
        self._router = Router(route for protocol in self.protocols for route in protocol.routes())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one connection (ASGI 3)."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        with self.load:
            await self._serve(HttpRequest.from_scope(scope, receive), send)

    async def _serve(self, request: HttpRequest, send: Send) -> None:
        record = AccessRecord(request.id, request.method, request.path, trace=request.headers.get("traceparent", ""))
        try:
            response = await self._answer(request, record)
        except ClientGoneError:
            return
        record.total_s = time.perf_counter() - record.started_at
        record.status = response.status
        headers = dict(response.headers)
        if record.trace:
            headers["traceparent"] = record.trace
        if self.adds_request_id:
            headers["x-request-id"] = request.id
        await response.send(send, headers, with_body=request.method != "HEAD")
        self.observe(record)

    async def _answer(self, request: HttpRequest, record: AccessRecord) -> HttpResponse:
        """The response, whatever happens; only a caller that has gone gets none."""
        try:
            self.load.check()
            return await self._respond(request, record)
        except ClientGoneError:
            raise
        except Exception as error:
            answer = as_request_error(error)
            if answer.status == 500:
                logger.exception("request %s failed", request.id)
            record.code = answer.code
            return HttpResponse.of_error(answer, request.id)

    async def _respond(self, request: HttpRequest, record: AccessRecord) -> HttpResponse:
        """The answer of the route, to a caller that may have it."""
        route = self._router.find(request)
        caller = None if route.is_open else self.identify(*request.credentials, record)
        return await route.respond(request, self.metered(caller, record))


async def _live(receive: Receive, send: Send) -> None:
    """Answers ASGI's lifespan events: there is nothing to do but to say so."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
