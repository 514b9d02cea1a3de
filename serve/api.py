"""The HTTP interface as an ASGI application, without a framework and without Ray: protocols, and what all share.

`serve.replica` runs it in Ray Serve; any ASGI server can run it bare.
"""

import logging
import random
import time
from collections.abc import Callable, Sequence

from serve.access.admission import Load, RequestLimits
from serve.access.keys import Guard
from serve.access_record import AccessRecord, Observe
from serve.errors import as_request_error
from serve.http.asgi import Receive, Scope, Send
from serve.http.health import Health
from serve.http.openapi import openapi
from serve.http.request import ClientGoneError, HttpRequest
from serve.http.response import HttpResponse
from serve.http.route import HttpProtocol, Router
from serve.metered import Metered
from serve.oip.rest import InferenceProtocol
from serve.pages.pages import Pages
from serve.shelf import Shelf
from serve.v1.protocol import SceneProtocol

logger = logging.getLogger(__name__)


class Api:
    """The ASGI application.

    Args:
        shelf: what is served.
        guard: who may call.
        limits: what a request may ask for.
        observe: is told of each request once it is answered; must be quick.
        adds_request_id: whether x-request-id goes into the answers; Ray Serve adds it by itself.
        draw: random numbers of [0, 1), which choose between weighted versions.
        load: counts the requests; may be shared with other interfaces of the process.
    """

    def __init__(
        self,
        shelf: Shelf,
        guard: Guard | None = None,
        limits: RequestLimits | None = None,
        observe: Observe = lambda record: None,
        adds_request_id: bool = True,
        draw: Callable[[], float] = random.random,
        load: Load | None = None,
    ) -> None:
        self.shelf = shelf
        self.guard = guard or Guard()
        self.limits = limits or RequestLimits()
        self.protocols: Sequence[HttpProtocol] = (
            SceneProtocol(shelf, draw),
            Health(shelf),
            InferenceProtocol(shelf, draw),
            Pages(lambda names: openapi(self.protocols, names), shelf),
        )
        self._router = Router(route for protocol in self.protocols for route in protocol.routes())
        self._observe = observe
        self._adds_request_id = adds_request_id
        self._load = load or Load()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one connection (ASGI 3)."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        with self._load:
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
        if self._adds_request_id:
            headers["x-request-id"] = request.id
        await response.send(send, headers, with_body=request.method != "HEAD")
        self._observe(record)

    async def _answer(self, request: HttpRequest, record: AccessRecord) -> HttpResponse:
        """The response, whatever happens; only a caller that has gone gets none."""
        try:
            self._load.check()
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
        caller = None
        if not route.is_open:
            caller = self.guard.identify(*request.credentials)
            record.caller = caller.name if caller else ""
        return await route.respond(request, Metered(self.shelf, self.guard, caller, record, self.limits))


async def _live(receive: Receive, send: Send) -> None:
    """Answers ASGI's lifespan events: there is nothing to do but to say so."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
