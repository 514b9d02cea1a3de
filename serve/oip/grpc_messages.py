"""The messages of inference by the Open Inference Protocol v2 over gRPC."""

from collections.abc import Mapping, Sequence

from serve.access.admission import RequestLimits
from serve.loaded_version import LoadedVersion
from serve.oip.inference import (
    InferRequest,
    RequestedOutput,
    output_names,
    photographs_and_coordinates,
    refuse_shared_memory,
    requested_output,
    specs_of,
    timeout_s,
)
from serve.oip.proto import inference_pb2 as pb
from serve.oip.tensors import BYTES, Tensor, TensorSpec, bad_tensor, from_bytes, from_floats, from_strings, from_uint8s


def infer_request(version: LoadedVersion, request: pb.ModelInferRequest, limits: RequestLimits) -> InferRequest:
    """What a message asks of this version. Raises RequestError."""
    specs = specs_of(version, [(each.name, each.datatype) for each in request.inputs])
    for given in request.inputs:
        limits.check_images(next(iter(given.shape), 0))
    raw = request.raw_input_contents
    if raw and len(raw) != len(specs):
        raise bad_tensor(f"{len(raw)} raw_input_contents for {len(specs)} input{'s' if len(specs) > 1 else ''}")
    parts = [*raw] if raw else [None] * len(specs)
    photographs, coordinates = photographs_and_coordinates(
        [_tensor(spec, given, part) for spec, given, part in zip(specs, request.inputs, parts, strict=True)]
    )
    outputs = [
        requested_output(version, each.name, _values(each.parameters), in_binary=True) for each in request.outputs
    ]
    return InferRequest(
        photographs,
        outputs or [RequestedOutput(name) for name in output_names(version)],
        coordinates,
        timeout_s(_values(request.parameters)),
    )


def infer_response(version: LoadedVersion, request_id: str, outputs: Sequence[Tensor]) -> pb.ModelInferResponse:
    """The outputs of this version."""
    return pb.ModelInferResponse(
        model_name=version.model,
        model_version=version.number,
        id=request_id,
        outputs=[
            pb.ModelInferResponse.InferOutputTensor(name=each.name, datatype=each.datatype, shape=each.shape)
            for each in outputs
        ],
        raw_output_contents=[each.to_bytes() for each in outputs],
    )


def _tensor(spec: TensorSpec, given: pb.ModelInferRequest.InferInputTensor, raw: bytes | None) -> Tensor:
    """An input, of the bytes that came for it, or of its own contents. Raises RequestError."""
    refuse_shared_memory(given.name, _values(given.parameters))
    if raw is not None and given.HasField("contents"):
        raise bad_tensor(f"{given.name}: has both contents and raw_input_contents: send one of them")
    shape = tuple(given.shape)
    if raw is not None:
        return from_bytes(spec, given.datatype, shape, raw)
    if spec.datatype == BYTES:
        return from_strings(spec, given.datatype, shape, list(given.contents.bytes_contents))
    if spec.datatype == "FP32":
        return from_floats(spec, given.datatype, shape, list(given.contents.fp32_contents))
    return from_uint8s(spec, given.datatype, shape, list(given.contents.uint_contents))


def _values(parameters: Mapping[str, pb.InferParameter]) -> dict[str, object]:
    """Each parameter as what it holds."""
    held = {name: parameter.WhichOneof("parameter_choice") for name, parameter in parameters.items()}
    return {name: getattr(parameters[name], kind) for name, kind in held.items() if kind}
