"""The messages of inference by the Open Inference Protocol v2 over gRPC."""

from collections.abc import Mapping, Sequence

from serve.access.admission import RequestLimits
from serve.loaded_version import LoadedVersion
from serve.oip.inference import (
    OUTPUTS,
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


def infer_request(version: LoadedVersion, request: pb.ModelInferRequest, limits: RequestLimits) -> InferRequest:
    """What a message asks of this version. Raises RequestError."""
    spec = input_spec(version, [(each.name, each.datatype) for each in request.inputs])
    limits.check_images(next(iter(request.inputs[0].shape), 0))
    tensor = _tensor(spec, request.inputs[0], request.raw_input_contents)
    outputs = [requested_output(each.name, _values(each.parameters), in_binary=True) for each in request.outputs]
    return InferRequest(
        photographs(tensor),
        outputs or [RequestedOutput(name) for name in OUTPUTS],
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
