"""The Open Inference Protocol v2 over gRPC: the methods of the service.

What the server and its models say of themselves are the documents of HTTP, read into messages: the protocol gives both
the same names.
"""

import logging
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol, TypeVar

import grpc
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from scenerec.json_object import JsonObject
from serve.access_record import AccessRecord
from serve.errors import ErrorKind, NotServedError, RequestError, as_request_error, body_too_large
from serve.http.request import accepted_id
from serve.interface import Interface
from serve.metered import Metered
from serve.oip.descriptions import SERVER, describe_config, describe_index, describe_model, describe_statistics
from serve.oip.grpc_messages import infer_request, infer_response
from serve.oip.grpc_methods import MESSAGES, REFUSED, SERVICE, STREAM
from serve.oip.inference import infer
from serve.oip.proto import inference_pb2 as pb
from serve.shelf import Shelf

logger = logging.getLogger(__name__)

_CODES = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    405: grpc.StatusCode.UNIMPLEMENTED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""gRPC's status codes by HTTP status; any other error is the caller's."""


Asked = TypeVar("Asked", bound=Message)
Answered = TypeVar("Answered", bound=Message)
Answer = Callable[[Asked, Metered], Awaitable[Answered]]
"""Answers a message, for a caller that may ask. Raises RequestError, and what the models raise."""


class CallContext(Protocol):
    """What is used of a call's context; grpc.aio's has it, and Ray Serve's."""

    def invocation_metadata(self) -> Iterable[tuple[str, str]] | None:
        """The metadata that came with the request."""
        ...

    def set_code(self, code: grpc.StatusCode) -> None:
        """Ends the call with this status."""
        ...

    def set_details(self, details: str) -> None:
        """Says why, beside the status."""
        ...

    def set_trailing_metadata(self, trailing_metadata: list[tuple[str, str]]) -> None:
        """Sends metadata with the answer."""
        ...


class GrpcInference(Interface):
    """The methods of the service, for Ray Serve (which passes `grpc_context` by keyword) and for a grpc.aio server.

    An error is set as the call's status, and an empty message returned: what a method raises, Ray Serve would log with
    its trace for every mistake of a caller. A key comes in the metadata `authorization: Bearer KEY`, or
    `x-api-key: KEY`. Whether the server lives and is ready it tells everyone.
    """

    async def ServerLive(self, request: pb.ServerLiveRequest, grpc_context: CallContext) -> pb.ServerLiveResponse:
        """Whether the server runs."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, grpc_context: CallContext) -> pb.ServerReadyResponse:
        """Whether there is something to serve."""
        return pb.ServerReadyResponse(ready=bool(self.shelf.names()))

    async def ModelInfer(self, request: pb.ModelInferRequest, grpc_context: CallContext) -> Message:
        """The model's answer to images."""
        return await self._answer("ModelInfer", request, grpc_context, self._infer)

    async def ModelStreamInfer(
        self, requests: AsyncIterable[pb.ModelInferRequest], grpc_context: CallContext
    ) -> AsyncIterator[pb.ModelStreamInferResponse]:
        """The model's answers to one request after another; an error is an answer too, and the stream goes on."""
        metadata = dict(grpc_context.invocation_metadata() or ())
        async for request in requests:
            record = _record(STREAM, metadata)
            try:
                answer = await self._ask(request, metadata, record, self._infer)
            except Exception as error:
                failure = _failure(error, record)
                yield pb.ModelStreamInferResponse(error_message=failure.message)
            else:
                yield pb.ModelStreamInferResponse(infer_response=answer)
            self._note(record)

    async def _answer(
        self, method: str, request: Asked, context: CallContext, answer: Answer[Asked, Message]
    ) -> Message:
        """Asks `answer`, for a caller that may; an error becomes the call's status."""
        metadata = dict(context.invocation_metadata() or ())
        record = _record(method, metadata)
        trailers = {"x-request-id": record.request_id}
        try:
            response = await self._ask(request, metadata, record, answer)
        except Exception as error:
            failure = _failure(error, record)
            trailers |= {"error-code": failure.code, **failure.headers}
            context.set_code(_CODES.get(failure.status, grpc.StatusCode.INVALID_ARGUMENT))
            context.set_details(failure.message)
            response = MESSAGES[method][1]()
        context.set_trailing_metadata(list(trailers.items()))
        self._note(record)
        return response

    async def _ask(
        self, request: Asked | bytes, metadata: Mapping[str, str], record: AccessRecord, answer: Answer[Asked, Answered]
    ) -> Answered:
        """Asks `answer`, for a caller that may. Raises RequestError, and what the models raise."""
        caller = self.identify(metadata.get("authorization", ""), metadata.get("x-api-key", ""), record)
        if isinstance(request, bytes):
            raise RequestError(ErrorKind.BAD_PARAMETER, f"{len(request)} bytes that are not this method's message")
        with self.load:
            self.load.check()
            return await answer(request, self.metered(caller, record))

    def _note(self, record: AccessRecord) -> None:
        record.total_s = time.perf_counter() - record.started_at
        self.observe(record)

    async def _infer(self, request: pb.ModelInferRequest, metered: Metered) -> pb.ModelInferResponse:
        if request.ByteSize() > self.limits.body_bytes:
            raise body_too_large(self.limits.body_bytes, "send fewer images")
        version = self.shelf.pick(request.model_name, self.draw(), request.model_version)
        asked = infer_request(version, request, self.limits)
        version, outputs = await infer(version, asked, metered)
        return infer_response(version, request.id, outputs)


def _is_served(shelf: Shelf, model: str, number: str) -> bool:
    try:
        shelf.pick(model, 0.0, number)
    except NotServedError:  # which here is an answer, to Triton's clients too
        return False
    return True


_DESCRIPTIONS: Mapping[str, Callable[[Any, Metered], JsonObject]] = {
    "ServerMetadata": lambda asked, metered: SERVER.to_value(),
    "ModelReady": lambda asked, metered: {"ready": _is_served(metered.shelf, asked.name, asked.version)},
    "ModelMetadata": lambda asked, metered: describe_model(metered.shelf, asked.name, asked.version).to_value(),
    "ModelConfig": lambda asked, metered: {
        "config": describe_config(metered.shelf, asked.name, asked.version, metered.limits.images).to_value()
    },
    "ModelStatistics": lambda asked, metered: describe_statistics(metered.shelf, asked.name, asked.version).to_value(),
    "RepositoryIndex": lambda asked, metered: {"models": [each.to_value() for each in describe_index(metered.shelf)]},
}
"""What the server and its models say of themselves, by method: the answers as JSON."""


async def _describe(method: str, request: Message, metered: Metered) -> Message:
    return ParseDict(_DESCRIPTIONS[method](request, metered), MESSAGES[method][1]())


async def _refuse(method: str, request: Message, metered: Metered) -> Message:
    raise RequestError(ErrorKind.METHOD_NOT_ALLOWED, f"{method}: {REFUSED[method]}")


def _method(name: str, answer: Answer[Message, Message]) -> Callable[..., Awaitable[Message]]:
    """A method of the service that asks `answer`, for who has a key."""

    async def method(self: GrpcInference, request: Message, grpc_context: CallContext) -> Message:
        return await self._answer(name, request, grpc_context, answer)

    return method


for _name in _DESCRIPTIONS:
    setattr(GrpcInference, _name, _method(_name, partial(_describe, _name)))
for _name in REFUSED:
    setattr(GrpcInference, _name, _method(_name, partial(_refuse, _name)))


def _record(method: str, metadata: Mapping[str, str]) -> AccessRecord:
    """The record of a call that begins."""
    given = metadata.get("x-request-id", "")
    request_id = accepted_id(given if given.isascii() else "")  # trailers are ASCII
    record = AccessRecord(request_id, "POST", f"/{SERVICE}/{method}", trace=metadata.get("traceparent", ""))
    record.status = 200
    return record


def _failure(error: Exception, record: AccessRecord) -> RequestError:
    """The answer to an error, noted in the record."""
    failure = as_request_error(error)
    if failure.status == 500:
        logger.exception("request %s failed", record.request_id)
    record.code, record.status = failure.code, failure.status
    return failure
