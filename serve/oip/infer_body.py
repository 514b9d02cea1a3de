"""The bodies of inference over HTTP: JSON, and tensors in binary behind it.

With tensors in binary a body is a JSON document, whose length the header Inference-Header-Content-Length gives, and
behind it the tensors that have a `binary_data_size`, in their order.
"""

from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from serve.access.admission import RequestLimits
from serve.errors import ErrorKind, RequestError
from serve.http.response import HttpResponse
from serve.loaded_version import LoadedVersion
from serve.oip.documents import HEADER_LENGTH, V2AnswerBody, V2InputBody, V2QuestionBody, V2TensorBody
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
from serve.oip.tensors import Tensor, TensorSpec, bad_tensor, from_bytes, from_json

_MOST_BYTES = 1 << 62


def read_infer_request(
    version: LoadedVersion, body: bytes, headers: Mapping[str, str], limits: RequestLimits
) -> InferRequest:
    """What a body with these headers asks of this version. Raises RequestError."""
    question, binary = _parse(body, headers.get(HEADER_LENGTH))
    specs = specs_of(version, [(each.name, each.datatype) for each in question.inputs])
    for given in question.inputs:
        limits.check_images(next(iter(given.shape), 0))
        refuse_shared_memory(given.name, given.parameters)
    by_default = question.parameters.get("binary_data_output", False) is True
    outputs = [
        requested_output(version, each.name, each.parameters, each.parameters.get("binary_data", by_default) is True)
        for each in question.outputs
    ] or [RequestedOutput(name, in_binary=by_default) for name in output_names(version)]
    photographs, coordinates = photographs_and_coordinates(_tensors(specs, question.inputs, binary))
    return InferRequest(photographs, outputs, coordinates, timeout_s(question.parameters), question.id)


def write_infer_answer(version: LoadedVersion, asked: InferRequest, outputs: Sequence[Tensor]) -> HttpResponse:
    """The outputs of this version, in the forms that were asked for."""
    described, binary = [], []
    for output, tensor in zip(asked.outputs, outputs, strict=True):
        body = V2TensorBody(tensor.name, tensor.datatype, tensor.shape)
        if output.in_binary:
            binary.append(tensor.to_bytes())
            body.parameters = {"binary_data_size": len(binary[-1])}
        else:
            body.data = tensor.to_json()
        described.append(body)
    answer = V2AnswerBody(version.model, version.number, described, asked.id)
    if not binary:
        return HttpResponse.of(answer)
    document = answer.to_json()
    return HttpResponse(
        200, b"".join([document, *binary]), "application/octet-stream", headers={HEADER_LENGTH: str(len(document))}
    )


def _parse(body: bytes, header_length: str | None) -> tuple[V2QuestionBody, memoryview]:
    """The JSON document, and what follows it."""
    length = len(body)
    if header_length is not None:
        if not (header_length.isascii() and header_length.isdecimal()) or len(header_length) > 18:
            raise RequestError(ErrorKind.BAD_PARAMETER, f"{HEADER_LENGTH}: must be a number of bytes")
        length = int(header_length)
        if length > len(body):
            raise bad_tensor(f"{HEADER_LENGTH} is {length}, and the body has {len(body)} bytes: is it cut off?")
    try:
        question = V2QuestionBody.model_validate_json(body[:length])
    except ValidationError as error:
        # Not `first_problem`, which quotes what was sent: here that may be a whole tensor.
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, problem["loc"][:4])) or "the body"
        raise RequestError(ErrorKind.BAD_JSON, f"{where[:80]}: {problem['msg']}") from None
    return question, memoryview(body)[length:]


def _tensors(specs: Sequence[TensorSpec], inputs: Sequence[V2InputBody], binary: memoryview) -> list[Tensor]:
    """The inputs, from the document or from what follows it."""
    sizes = [_binary_size(given) for given in inputs]
    total = sum(size for size in sizes if size is not None)
    if total != len(binary):
        told = [f"{given.name}: binary_data_size is {size}" for given, size in zip(inputs, sizes, strict=True) if size]
        if not told:
            raise bad_tensor(f"{len(binary)} bytes follow the JSON document, and no input has a binary_data_size")
        raise bad_tensor(f"{', '.join(told)}, and {len(binary)} bytes follow the JSON document")
    tensors, at = [], 0
    for spec, given, size in zip(specs, inputs, sizes, strict=True):
        if size is None:
            tensors.append(from_json(spec, given.datatype, given.shape, given.data))
        else:
            tensors.append(from_bytes(spec, given.datatype, given.shape, binary[at : at + size]))
            at += size
    return tensors


def _binary_size(given: V2InputBody) -> int | None:
    """Bytes of an input behind the document; None of one within. Raises RequestError."""
    size = given.parameters.get("binary_data_size")
    if size is None:
        return None
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= _MOST_BYTES:
        raise bad_tensor(f"{given.name}: binary_data_size: must be a number of bytes")
    if given.data is not None:
        raise bad_tensor(f"{given.name}: has both data and a binary_data_size: send one of them")
    return size
