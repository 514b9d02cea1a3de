"""The HTTP interface as an ASGI application, without a framework and without Ray: routes, their answers, and errors.

`serve.replica` runs it in Ray Serve; any ASGI server can run it bare.
"""

import logging
import random
import re
import time
from collections.abc import Callable
from typing import Any

from serve.answers import RequestError, as_request_error
from serve.events import Event, Observe
from serve.keys import Caller, Guard
from serve.limits import Limits
from serve.load import Load
from serve.metered import Metered
from serve.models import Shelf
from serve.openapi import openapi
from serve.page import CONTENT_SECURITY_POLICY, DOCS_HTML, INDEX_HTML
from serve.photographs import read_question
from serve.predictions import add_heat_maps, predictions
from serve.request import ClientGoneError, Receive, Request, Response, Scope, Send
from serve.v2 import InferenceProtocol

logger = logging.getLogger(__name__)

_PREDICT = re.compile(r"/v1/models/([^/:]+)(?:/versions/([^/:]+))?:predict")
_MODEL = re.compile(r"/v1/models/([^/:]+)")
_PAGE_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


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
        limits: Limits | None = None,
        observe: Observe = lambda event: None,
        adds_request_id: bool = True,
        draw: Callable[[], float] = random.random,
        load: Load | None = None,
    ) -> None:
        self.shelf = shelf
        self.guard = guard or Guard()
        self.limits = limits or Limits()
        self.protocol = InferenceProtocol(shelf, draw)
        self._observe = observe
        self._adds_request_id = adds_request_id
        self._draw = draw
        self._load = load or Load()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        with self._load:
            await self._serve(Request.from_scope(scope, receive), send)

    async def _serve(self, request: Request, send: Send) -> None:
        event = Event(request.id, request.method, request.path, trace=request.headers.get("traceparent", ""))
        try:
            response = await self._answer(request, event)
        except ClientGoneError:
            return
        event.total_s = time.perf_counter() - event.started_at
        event.status = response.status
        headers = dict(response.headers)
        if event.trace:
            headers["traceparent"] = event.trace
        if self._adds_request_id:
            headers["x-request-id"] = request.id
        await response.send(send, headers, with_body=request.method != "HEAD")
        self._observe(event)

    async def _answer(self, request: Request, event: Event) -> Response:
        """The response, whatever happens; only a caller that has gone gets none."""
        try:
            self._load.check()
            return await self._route(request, event)
        except ClientGoneError:
            raise
        except Exception as error:
            answer = as_request_error(error)
            if answer.status == 500:
                logger.exception("request %s failed", request.id)
            event.code = answer.code
            document = {"error": answer.message, "code": answer.code, "request_id": request.id}
            return Response.of(document, answer.status, answer.headers)

    async def _route(self, request: Request, event: Event) -> Response:
        path = request.path
        if match := _PREDICT.fullmatch(path):
            _allow(request, "POST")
            return await self._predict(request, event, match[1], match[2])
        if path == "/v2" or path.startswith("/v2/"):
            caller = self._identify(request, event)
            answer = await self.protocol.respond(request, Metered(self.shelf, self.guard, caller, event, self.limits))
            if answer is not None:
                return answer
        if path in ("/v1/models", "/v1/models/"):
            _allow(request, "GET", "HEAD")
            self._identify(request, event)
            return Response.of({"models": [self._describe(name) for name in self.shelf.names()]})
        if match := _MODEL.fullmatch(path):
            _allow(request, "GET", "HEAD")
            self._identify(request, event)
            labels = list(self.shelf.pick(match[1], 0.0).labels)
            return Response.of({**self._describe(match[1]), "labels": labels})
        if path in _OPEN:
            _allow(request, "GET", "HEAD")
            return _OPEN[path](self)
        raise RequestError(404, "not_found", f"nothing is at {path[:80]!r}: /docs shows what there is")

    async def _predict(self, request: Request, event: Event, model: str, number: str | None) -> Response:
        metered = Metered(self.shelf, self.guard, self._identify(request, event), event, self.limits)
        version = self.shelf.pick(model, self._draw(), number)
        question = await read_question(request, self.limits)
        version, answers = await metered.ask(version, question.photographs)
        found = predictions(version, answers, question.top_k)
        if question.explain:
            await add_heat_maps(version, question, found)
        return Response.of(
            {
                "model": model,
                "version": version.number,
                "request_id": request.id,
                "predictions": found,
                "timings_ms": {
                    "total": round((time.perf_counter() - event.started_at) * 1e3, 2),
                    "queued": round(event.queued_s * 1e3, 2),
                    "prepared": round(event.prepared_s * 1e3, 2),
                    "inferred": round(event.inferred_s * 1e3, 2),
                },
            }
        )

    def _identify(self, request: Request, event: Event) -> Caller | None:
        headers = request.headers
        caller = self.guard.identify(headers.get("authorization", ""), headers.get("x-api-key", ""))
        event.caller = caller.name if caller else ""
        return caller

    def _describe(self, model: str) -> dict[str, Any]:
        """A model for `GET /v1/models`."""
        weighted = self.shelf.weighted(model)
        first = weighted[0].version
        return {
            "name": model,
            "versions": [
                {
                    "version": each.version.number,
                    "weight": each.weight,
                    "url": each.version.url,
                    "precision": each.version.info.precision,
                    "arch": each.version.info.lineage.arch,
                }
                for each in weighted
            ],
            "labels": len(first.labels),
            "image_size": first.image_size,
            "eval_crop_ratio": first.info.preprocessing.eval_crop_ratio,
            "explains": first.explains,
        }

    def readiness(self) -> Response:
        """Whether there is something to serve."""
        models = {name: [each.version.number for each in self.shelf.weighted(name)] for name in self.shelf.names()}
        status = "ready" if models else "not_ready"
        return Response.of({"status": status, "models": models}, 200 if models else 503)


def _allow(request: Request, *methods: str) -> None:
    if request.method not in methods:
        allowed = ", ".join(methods)
        raise RequestError(
            405, "method_not_allowed", f"{request.method} is not for this address: use {methods[0]}", {"allow": allowed}
        )


async def _live(receive: Receive, send: Send) -> None:
    """ASGI's lifespan: there is nothing to do but to say so."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


_OPEN: dict[str, Callable[[Api], Response]] = {
    "/": lambda api: Response(200, INDEX_HTML, "text/html; charset=utf-8", _PAGE_HEADERS),
    "/docs": lambda api: Response(200, DOCS_HTML, "text/html; charset=utf-8", _PAGE_HEADERS),
    "/openapi.json": lambda api: Response.of(openapi(api.shelf.names())),
    "/healthz": lambda api: Response.of({"status": "ok"}),
    "/readyz": Api.readiness,
}
"""What needs no key: it says nothing that is secret."""
