"""The Open Inference Protocol v2 over gRPC: the methods of the service."""

import logging
import random
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Protocol, TypeVar

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from scenerec import __version__
from serve.access.admission import Load, RequestLimits
from serve.access.keys import Guard
from serve.access_record import AccessRecord, Observe
from serve.errors import ErrorKind, NotServedError, RequestError, as_request_error, body_too_large
from serve.http.request import accepted_id
from serve.metered import Metered
from serve.oip.grpc_messages import infer_request, infer_response, model_config, model_metadata, model_statistics
from serve.oip.grpc_methods import REFUSED, SERVICE, STREAM
from serve.oip.inference import EXTENSIONS, READY, SERVER, Inference
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


class GrpcInference:
    """The methods of the service, for Ray Serve (which passes `grpc_context` by keyword) and for a grpc.aio server.

    An error is set as the call's status, and an empty message returned: what a method raises, Ray Serve would log with
    its trace for every mistake of a caller.

    Args:
        shelf: what is served.
        guard: who may call: metadata `authorization: Bearer KEY`, or `x-api-key: KEY`. Whether the server lives and is
            ready it tells everyone.
        limits: what a request may ask for.
        observe: is told of each request once it is answered; must be quick.
        draw: random numbers of [0, 1), which choose between weighted versions.
        load: counts the requests; may be shared with other interfaces of the process.
    """

    def __init__(
        self,
        shelf: Shelf,
        guard: Guard | None = None,
        limits: RequestLimits | None = None,
        observe: Observe = lambda record: None,
        draw: Callable[[], float] = random.random,
        load: Load | None = None,
    ) -> None:
        self.inference = Inference(shelf, draw)
        self.guard = guard or Guard()
        self.limits = limits or RequestLimits()
        self._observe = observe
        self.load = load or Load()

    async def ServerLive(self, request: pb.ServerLiveRequest, grpc_context: CallContext) -> pb.ServerLiveResponse:
        """Whether the server runs."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, grpc_context: CallContext) -> pb.ServerReadyResponse:
        """Whether there is something to serve."""
        return pb.ServerReadyResponse(ready=self.inference.is_ready)

    async def ServerMetadata(
        self, request: pb.ServerMetadataRequest, grpc_context: CallContext
    ) -> pb.ServerMetadataResponse:
        """What the server is."""
        return await self._answer(request, grpc_context, self._server_metadata, pb.ServerMetadataResponse)

    async def ModelReady(self, request: pb.ModelReadyRequest, grpc_context: CallContext) -> pb.ModelReadyResponse:
        """Whether a model is served, and this version of it."""
        return await self._answer(request, grpc_context, self._model_ready, pb.ModelReadyResponse)

    async def ModelMetadata(
        self, request: pb.ModelMetadataRequest, grpc_context: CallContext
    ) -> pb.ModelMetadataResponse:
        """What a model takes and gives."""
        return await self._answer(request, grpc_context, self._model_metadata, pb.ModelMetadataResponse)

    async def ModelConfig(self, request: pb.ModelConfigRequest, grpc_context: CallContext) -> pb.ModelConfigResponse:
        """Triton's configuration of a model."""
        return await self._answer(request, grpc_context, self._model_config, pb.ModelConfigResponse)

    async def ModelStatistics(
        self, request: pb.ModelStatisticsRequest, grpc_context: CallContext
    ) -> pb.ModelStatisticsResponse:
        """What versions were asked in this process."""
        return await self._answer(request, grpc_context, self._model_statistics, pb.ModelStatisticsResponse)

    async def RepositoryIndex(
        self, request: pb.RepositoryIndexRequest, grpc_context: CallContext
    ) -> pb.RepositoryIndexResponse:
        """Which versions are served."""
        return await self._answer(request, grpc_context, self._repository_index, pb.RepositoryIndexResponse)

    async def ModelInfer(self, request: pb.ModelInferRequest, grpc_context: CallContext) -> pb.ModelInferResponse:
        """The model's answer to images."""
        return await self._answer(request, grpc_context, self._model_infer, pb.ModelInferResponse)

    async def ModelStreamInfer(
        self, requests: AsyncIterable[pb.ModelInferRequest], grpc_context: CallContext
    ) -> AsyncIterator[pb.ModelStreamInferResponse]:
        """The model's answers to one request after another; an error is an answer too, and the stream goes on."""
        metadata = dict(grpc_context.invocation_metadata() or ())
        async for request in requests:
            record = _record(STREAM, metadata)
            try:
                answer = await self._ask(request, metadata, record, self._model_infer)
            except Exception as error:
                failure = _failure(error, record)
                yield pb.ModelStreamInferResponse(error_message=failure.message)
            else:
                yield pb.ModelStreamInferResponse(infer_response=answer)
            self._note(record)

    async def _answer(
        self,
        request: Asked,
        context: CallContext,
        answer: Callable[[Asked, Metered], Awaitable[Answered]],
        response_type: type[Answered],
        method: str = "",
    ) -> Answered:
        """Asks `answer`, for a caller that may; an error becomes the call's status."""
        metadata = dict(context.invocation_metadata() or ())
        record = _record(method or response_type.__name__.removesuffix("Response"), metadata)
        trailers = {"x-request-id": record.request_id}
        try:
            response = await self._ask(request, metadata, record, answer)
        except Exception as error:
            failure = _failure(error, record)
            trailers |= {"error-code": failure.code, **failure.headers}
            context.set_code(_CODES.get(failure.status, grpc.StatusCode.INVALID_ARGUMENT))
            context.set_details(failure.message)
            response = response_type()
        context.set_trailing_metadata(list(trailers.items()))
        self._note(record)
        return response

    async def _ask(
        self,
        request: Asked | bytes,
        metadata: Mapping[str, str],
        record: AccessRecord,
        answer: Callable[[Asked, Metered], Awaitable[Answered]],
    ) -> Answered:
        """Asks `answer`, for a caller that may. Raises RequestError, and what the models raise."""
        caller = self.guard.identify(metadata.get("authorization", ""), metadata.get("x-api-key", ""))
        record.caller = caller.name if caller else ""
        if isinstance(request, bytes):
            raise RequestError(ErrorKind.BAD_PARAMETER, f"{len(request)} bytes that are not this method's message")
        with self.load:
            self.load.check()
            return await answer(request, Metered(self.inference.shelf, self.guard, caller, record, self.limits))

    def _note(self, record: AccessRecord) -> None:
        record.total_s = time.perf_counter() - record.started_at
        self._observe(record)

    async def _server_metadata(self, request: pb.ServerMetadataRequest, metered: Metered) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(name=SERVER, version=__version__, extensions=EXTENSIONS)

    async def _model_ready(self, request: pb.ModelReadyRequest, metered: Metered) -> pb.ModelReadyResponse:
        try:
            self.inference.describe(request.name, request.version)
        except NotServedError:  # which here is an answer, to Triton's clients too
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    async def _model_metadata(self, request: pb.ModelMetadataRequest, metered: Metered) -> pb.ModelMetadataResponse:
        return model_metadata(self.inference.describe(request.name, request.version))

    async def _model_config(self, request: pb.ModelConfigRequest, metered: Metered) -> pb.ModelConfigResponse:
        return model_config(self.inference.describe(request.name, request.version), self.limits.images)

    async def _model_statistics(
        self, request: pb.ModelStatisticsRequest, metered: Metered
    ) -> pb.ModelStatisticsResponse:
        found = self.inference.served(request.name, request.version)
        return pb.ModelStatisticsResponse(model_stats=map(model_statistics, found))

    async def _repository_index(
        self, request: pb.RepositoryIndexRequest, metered: Metered
    ) -> pb.RepositoryIndexResponse:
        entry = pb.RepositoryIndexResponse.ModelIndex
        found = self.inference.served("", "")
        return pb.RepositoryIndexResponse(
            models=[entry(name=each.model, version=each.number, state=READY) for each in found]
        )

    async def _model_infer(self, request: pb.ModelInferRequest, metered: Metered) -> pb.ModelInferResponse:
        if request.ByteSize() > self.limits.body_bytes:
            raise body_too_large(self.limits.body_bytes, "send fewer images")
        version = self.inference.pick(request.model_name, request.model_version)
        asked = infer_request(version, request, self.limits)
        version, outputs = await self.inference.infer(version, asked, metered)
        return infer_response(version, request.id, outputs)


def _refusal(method: str, why: str) -> Callable[..., Awaitable[Empty]]:
    """A method of the service that says why it does nothing, to who has a key."""

    async def refuse(self: GrpcInference, request: Empty, grpc_context: CallContext) -> Empty:
        async def answer(request: Empty, metered: Metered) -> Empty:
            raise RequestError(ErrorKind.METHOD_NOT_ALLOWED, f"{method}: {why}")

        return await self._answer(request, grpc_context, answer, Empty, method)

    return refuse


for _method, _why in REFUSED.items():
    setattr(GrpcInference, _method, _refusal(_method, _why))


def _record(method: str, metadata: Mapping[str, str]) -> AccessRecord:
    """Of a call that begins."""
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
