"""The HTTP interface as an ASGI application, without a framework and without Ray: routes, their answers, and errors.

`serve.replica` runs it in Ray Serve; any ASGI server can run it bare.
"""

import logging
import random
import re
import time
from collections.abc import Callable
from typing import Any

from serve.access.admission import Load, RequestLimits
from serve.access.keys import Caller, Guard
from serve.access_record import AccessRecord, Observe
from serve.errors import RequestError, as_request_error
from serve.http.openapi import openapi
from serve.http.request import ClientGoneError, HttpRequest, HttpResponse, Receive, Scope, Send
from serve.metered import Metered
from serve.oip.rest import InferenceProtocol
from serve.pages import CONTENT_SECURITY_POLICY, DOCS_HTML, INDEX_HTML
from serve.shelf import Shelf
from serve.v1.predictions import add_heat_maps, predictions
from serve.v1.question import read_question

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
        limits: RequestLimits | None = None,
        observe: Observe = lambda record: None,
        adds_request_id: bool = True,
        draw: Callable[[], float] = random.random,
        load: Load | None = None,
    ) -> None:
        self.shelf = shelf
        self.guard = guard or Guard()
        self.limits = limits or RequestLimits()
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
            return await self._route(request, record)
        except ClientGoneError:
            raise
        except Exception as error:
            answer = as_request_error(error)
            if answer.status == 500:
                logger.exception("request %s failed", request.id)
            record.code = answer.code
            document = {"error": answer.message, "code": answer.code, "request_id": request.id}
            return HttpResponse.of(document, answer.status, answer.headers)

    async def _route(self, request: HttpRequest, record: AccessRecord) -> HttpResponse:
        path = request.path
        if match := _PREDICT.fullmatch(path):
            _allow(request, "POST")
            return await self._predict(request, record, match[1], match[2])
        if path == "/v2" or path.startswith("/v2/"):
            caller = self._identify(request, record)
            answer = await self.protocol.respond(request, Metered(self.shelf, self.guard, caller, record, self.limits))
            if answer is not None:
                return answer
        if path in ("/v1/models", "/v1/models/"):
            _allow(request, "GET", "HEAD")
            self._identify(request, record)
            return HttpResponse.of({"models": [self._describe(name) for name in self.shelf.names()]})
        if match := _MODEL.fullmatch(path):
            _allow(request, "GET", "HEAD")
            self._identify(request, record)
            labels = list(self.shelf.pick(match[1], 0.0).labels)
            return HttpResponse.of({**self._describe(match[1]), "labels": labels})
        if path in _OPEN:
            _allow(request, "GET", "HEAD")
            return _OPEN[path](self)
        raise RequestError(404, "not_found", f"nothing is at {path[:80]!r}: /docs shows what there is")

    async def _predict(
        self, request: HttpRequest, record: AccessRecord, model: str, number: str | None
    ) -> HttpResponse:
        metered = Metered(self.shelf, self.guard, self._identify(request, record), record, self.limits)
        version = self.shelf.pick(model, self._draw(), number)
        question = await read_question(request, self.limits)
        version, answers = await metered.ask(version, question.photographs)
        found = predictions(version, answers, question.top_k)
        if question.explain:
            await add_heat_maps(version, question, found)
        return HttpResponse.of(
            {
                "model": model,
                "version": version.number,
                "request_id": request.id,
                "predictions": found,
                "timings_ms": {
                    "total": round((time.perf_counter() - record.started_at) * 1e3, 2),
                    "queued": round(record.queued_s * 1e3, 2),
                    "prepared": round(record.prepared_s * 1e3, 2),
                    "inferred": round(record.inferred_s * 1e3, 2),
                },
            }
        )

    def _identify(self, request: HttpRequest, record: AccessRecord) -> Caller | None:
        headers = request.headers
        caller = self.guard.identify(headers.get("authorization", ""), headers.get("x-api-key", ""))
        record.caller = caller.name if caller else ""
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

    def readiness(self) -> HttpResponse:
        """Whether there is something to serve."""
        models = {name: [each.version.number for each in self.shelf.weighted(name)] for name in self.shelf.names()}
        status = "ready" if models else "not_ready"
        return HttpResponse.of({"status": status, "models": models}, 200 if models else 503)


def _allow(request: HttpRequest, *methods: str) -> None:
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


_OPEN: dict[str, Callable[[Api], HttpResponse]] = {
    "/": lambda api: HttpResponse(200, INDEX_HTML, "text/html; charset=utf-8", _PAGE_HEADERS),
    "/docs": lambda api: HttpResponse(200, DOCS_HTML, "text/html; charset=utf-8", _PAGE_HEADERS),
    "/openapi.json": lambda api: HttpResponse.of(openapi(api.shelf.names())),
    "/healthz": lambda api: HttpResponse.of({"status": "ok"}),
    "/readyz": Api.readiness,
}
"""What needs no key: it says nothing that is secret."""
