"""The Open Inference Protocol v2 over gRPC: service `inference.GRPCInferenceService`, as tritonclient calls it.

Methods that Triton adds to the protocol (streams, statistics, shared memory, its repository) are not registered, so
that gRPC itself answers UNIMPLEMENTED.
"""

import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from scenerec import __version__
from serve.access.admission import Load, RequestLimits
from serve.access.keys import Guard
from serve.access_record import AccessRecord, Observe
from serve.errors import NotServedError, as_request_error, body_too_large
from serve.http.request import accepted_id
from serve.loaded_version import LoadedVersion
from serve.metered import Metered
from serve.oip.inference import (
    EXTENSIONS,
    OUTPUTS,
    PLATFORM,
    SERVER,
    Inference,
    InferRequest,
    RequestedOutput,
    input_spec,
    photographs,
    refuse_shared_memory,
    requested_output,
    timeout_s,
)
from serve.oip.proto import inference_pb2 as pb
from serve.oip.tensors import BYTES, Tensor, TensorSpec, bad_tensor, from_bytes, from_strings, from_uint8s
from serve.shelf import Shelf

logger = logging.getLogger(__name__)

SERVICE = "inference.GRPCInferenceService"
METHODS: dict[str, tuple[type[Message], type[Message]]] = {
    "ServerLive": (pb.ServerLiveRequest, pb.ServerLiveResponse),
    "ServerReady": (pb.ServerReadyRequest, pb.ServerReadyResponse),
    "ModelReady": (pb.ModelReadyRequest, pb.ModelReadyResponse),
    "ServerMetadata": (pb.ServerMetadataRequest, pb.ServerMetadataResponse),
    "ModelMetadata": (pb.ModelMetadataRequest, pb.ModelMetadataResponse),
    "ModelInfer": (pb.ModelInferRequest, pb.ModelInferResponse),
}
"""The methods of the service: the messages of request and response, by name."""

_CODES = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
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


def add_to_server(servicer: "GrpcInference", server: grpc.aio.Server) -> None:
    """Registers the service, as a generated `add_…Servicer_to_server` would.

    `servicer` is a GrpcInference, or has its methods. Ray Serve is given this function by its import path, in
    `gRPCOptions(grpc_servicer_functions=["serve.oip.grpc_service.add_to_server"])`.
    """
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            getattr(servicer, name),
            request_deserializer=request.FromString,
            response_serializer=response.SerializeToString,
        )
        for name, (request, response) in METHODS.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_registered_method_handlers(SERVICE, handlers)


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

    async def ModelInfer(self, request: pb.ModelInferRequest, grpc_context: CallContext) -> pb.ModelInferResponse:
        """The model's answer to images."""
        return await self._answer(request, grpc_context, self._model_infer, pb.ModelInferResponse)

    async def _answer(
        self,
        request: Asked,
        context: CallContext,
        answer: Callable[[Asked, Metered], Awaitable[Answered]],
        response_type: type[Answered],
    ) -> Answered:
        """Asks `answer`, for a caller that may; an error becomes the call's status."""
        metadata = dict(context.invocation_metadata() or ())
        method = response_type.__name__.removesuffix("Response")
        request_id = accepted_id(metadata.get("x-request-id", ""))
        record = AccessRecord(request_id, "POST", f"/{SERVICE}/{method}", trace=metadata.get("traceparent", ""))
        record.status = 200
        trailers = {"x-request-id": request_id}
        try:
            caller = self.guard.identify(metadata.get("authorization", ""), metadata.get("x-api-key", ""))
            record.caller = caller.name if caller else ""
            with self.load:
                self.load.check()
                metered = Metered(self.inference.shelf, self.guard, caller, record, self.limits)
                response = await answer(request, metered)
        except Exception as error:
            failure = as_request_error(error)
            if failure.status == 500:
                logger.exception("request %s failed", request_id)
            record.code, record.status = failure.code, failure.status
            trailers |= {"error-code": failure.code, **failure.headers}
            context.set_code(_CODES.get(failure.status, grpc.StatusCode.INVALID_ARGUMENT))
            context.set_details(failure.message)
            response = response_type()
        context.set_trailing_metadata(list(trailers.items()))
        record.total_s = time.perf_counter() - record.started_at
        self._observe(record)
        return response

    async def _server_metadata(self, request: pb.ServerMetadataRequest, metered: Metered) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(name=SERVER, version=__version__, extensions=EXTENSIONS)

    async def _model_ready(self, request: pb.ModelReadyRequest, metered: Metered) -> pb.ModelReadyResponse:
        try:
            self.inference.describe(request.name, request.version)
        except NotServedError:  # which here is an answer, to Triton's clients too
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    async def _model_metadata(self, request: pb.ModelMetadataRequest, metered: Metered) -> pb.ModelMetadataResponse:
        found = self.inference.describe(request.name, request.version)
        return pb.ModelMetadataResponse(
            name=found.name,
            versions=found.versions,
            platform=PLATFORM,
            inputs=[_metadata(spec) for spec in found.inputs],
            outputs=[_metadata(spec) for spec in found.outputs],
        )

    async def _model_infer(self, request: pb.ModelInferRequest, metered: Metered) -> pb.ModelInferResponse:
        if request.ByteSize() > self.limits.body_bytes:
            raise body_too_large(self.limits.body_bytes, "send fewer images")
        version = self.inference.pick(request.model_name, request.model_version)
        asked = _request(version, request, self.limits)
        version, outputs = await self.inference.infer(version, asked, metered)
        return pb.ModelInferResponse(
            model_name=version.model,
            model_version=version.number,
            id=request.id,
            outputs=[
                pb.ModelInferResponse.InferOutputTensor(name=each.name, datatype=each.datatype, shape=each.shape)
                for each in outputs
            ],
            raw_output_contents=[each.to_bytes() for each in outputs],
        )


def _request(version: LoadedVersion, request: pb.ModelInferRequest, limits: RequestLimits) -> InferRequest:
    spec = input_spec(version, [each.name for each in request.inputs])
    limits.check_images(next(iter(request.inputs[0].shape), 0))
    tensor = _tensor(spec, request.inputs[0], request.raw_input_contents)
    outputs = [requested_output(each.name, _values(each.parameters), in_binary=True) for each in request.outputs]
    return InferRequest(
        photographs(tensor),
        outputs or [RequestedOutput(name) for name in OUTPUTS],
        timeout_s(_values(request.parameters)),
    )


def _tensor(spec: TensorSpec, given: pb.ModelInferRequest.InferInputTensor, raw: Sequence[bytes]) -> Tensor:
    refuse_shared_memory(given.name, _values(given.parameters))
    if raw and given.HasField("contents"):
        raise bad_tensor(f"{given.name}: has both contents and raw_input_contents: send one of them")
    shape = tuple(given.shape)
    if raw:
        if len(raw) != 1:
            raise bad_tensor(f"{len(raw)} raw_input_contents for 1 input")
        return from_bytes(spec, given.datatype, shape, raw[0])
    if spec.datatype == BYTES:
        return from_strings(spec, given.datatype, shape, list(given.contents.bytes_contents))
    return from_uint8s(spec, given.datatype, shape, list(given.contents.uint_contents))


def _values(parameters: Mapping[str, pb.InferParameter]) -> dict[str, object]:
    """Each parameter as what it holds."""
    held = {name: parameter.WhichOneof("parameter_choice") for name, parameter in parameters.items()}
    return {name: getattr(parameters[name], kind) for name, kind in held.items() if kind}


def _metadata(spec: TensorSpec) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(name=spec.name, datatype=spec.datatype, shape=spec.shape)
