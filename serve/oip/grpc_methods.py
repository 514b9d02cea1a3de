"""The gRPC service `inference.GRPCInferenceService`, as tritonclient calls it: its methods, and how a server gets them.

Of what Triton adds to the protocol there are streams, configurations, statistics and the index of its repository; the
other methods answer UNIMPLEMENTED, and say why.
"""

from collections.abc import Callable, Mapping

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError, Message

from serve.oip.proto import inference_pb2 as pb

SERVICE = "inference.GRPCInferenceService"
METHODS: Mapping[str, tuple[type[Message], type[Message]]] = {
    name: (getattr(pb, f"{name}Request"), getattr(pb, f"{name}Response"))
    for name in (
        *("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelConfig"),
        *("ModelStatistics", "RepositoryIndex", "ModelInfer"),
    )
}
"""The methods of one message each way: of request and response, by name."""

STREAM = "ModelStreamInfer"
"""The method of a stream of messages each way."""

_DEPLOYED = "what is served is decided by `scenerec serve deploy` and `scenerec registry promote`"
_SHARED_MEMORY = "shared memory is not supported: send the tensor itself"
REFUSED: Mapping[str, str] = {
    "RepositoryModelLoad": _DEPLOYED,
    "RepositoryModelUnload": _DEPLOYED,
    "SystemSharedMemoryStatus": _SHARED_MEMORY,
    "SystemSharedMemoryRegister": _SHARED_MEMORY,
    "SystemSharedMemoryUnregister": _SHARED_MEMORY,
    "CudaSharedMemoryStatus": _SHARED_MEMORY,
    "CudaSharedMemoryRegister": _SHARED_MEMORY,
    "CudaSharedMemoryUnregister": _SHARED_MEMORY,
    "TraceSetting": "there is nothing to set: requests are traced by their header traceparent",
    "LogSettings": "there is nothing to set: http.access_log of serve.yaml decides about the log",
}
"""Triton's other methods: why each answers UNIMPLEMENTED."""

MESSAGES: Mapping[str, tuple[type[Message], type[Message]]] = {**METHODS, **dict.fromkeys(REFUSED, (Empty, Empty))}
"""Request and response of all methods of one message each way, those that are refused included."""


def add_to_server(servicer: object, server: grpc.aio.Server) -> None:
    """Registers the service, as a generated `add_…Servicer_to_server` would.

    `servicer` has the methods, as a `serve.oip.grpc_service.GrpcInference` does. Ray Serve is given this function by
    its import path, in `gRPCOptions(grpc_servicer_functions=["serve.oip.grpc_methods.add_to_server"])`.
    """
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            getattr(servicer, name),
            request_deserializer=_reader(request),
            response_serializer=response.SerializeToString,
        )
        for name, (request, response) in MESSAGES.items()
    }
    handlers[STREAM] = grpc.stream_stream_rpc_method_handler(
        getattr(servicer, STREAM),
        request_deserializer=_reader(pb.ModelInferRequest),
        response_serializer=pb.ModelStreamInferResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_registered_method_handlers(SERVICE, handlers)


def _reader(message_type: type[Message]) -> Callable[[bytes], Message | bytes]:
    """Reads a message; of what is none it returns the bytes, for gRPC itself would answer that the server failed."""

    def read(sent: bytes) -> Message | bytes:
        try:
            return message_type.FromString(sent)
        except DecodeError:
            return sent

    return read
