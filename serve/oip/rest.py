"""The Open Inference Protocol v2 over HTTP, as NVIDIA's tritonclient speaks it.

The sources are the specification (github.com/kserve/open-inference-protocol, inference_rest.md) and Triton's extensions
for tensors in binary and for the model's configuration (github.com/triton-inference-server/server, docs/protocol).
With tensors in binary a body is a JSON document, whose length the header Inference-Header-Content-Length gives, and
behind it the tensors that have a `binary_data_size`, in their order.
"""

import json
import random
import re
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serve.access.admission import RequestLimits
from serve.errors import RequestError, retry_later
from serve.http.request import HttpRequest, HttpResponse
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
    server_version,
    timeout_s,
)
from serve.oip.tensors import BYTES, Tensor, TensorSpec, bad_tensor, from_bytes, from_json
from serve.shelf import LoadedVersion, Shelf

HEADER_LENGTH = "inference-header-content-length"

_MODEL = re.compile(r"/v2/models/(?P<model>[^/]+)(?:/versions/(?P<number>[^/]+))?(?:/(?P<verb>ready|config|infer))?")
_ANY_ZLIB = zlib.MAX_WBITS | 32  # gzip's and zlib's headers are told apart


class _Input(BaseModel):
    model_config = ConfigDict(strict=True)

    name: str
    shape: list[int] = Field(max_length=16)
    datatype: str
    parameters: dict[str, Any] = {}
    data: Any = None


class _Output(BaseModel):
    model_config = ConfigDict(strict=True)

    name: str
    parameters: dict[str, Any] = {}


class _Document(BaseModel):
    model_config = ConfigDict(strict=True)

    id: str = ""
    parameters: dict[str, Any] = {}
    inputs: list[_Input]
    outputs: list[_Output] = []


class InferenceProtocol:
    """Answers what is below /v2.

    Args:
        shelf: what is served.
        draw: random numbers of [0, 1), which choose between weighted versions.
    """

    def __init__(self, shelf: Shelf, draw: Callable[[], float] = random.random) -> None:
        self.inference = Inference(shelf, draw)

    async def respond(self, request: HttpRequest, metered: Metered) -> HttpResponse | None:
        """The response; None for an address that the protocol does not have.

        Raises RequestError, ClientGoneError, and what the models raise.
        """
        match request.path.rstrip("/"):
            case "/v2":
                _allow(request, "GET")
                return HttpResponse.of({"name": SERVER, "version": server_version(), "extensions": EXTENSIONS})
            case "/v2/health/live":
                _allow(request, "GET")
                return HttpResponse.of({"live": True})
            case "/v2/health/ready":
                _allow(request, "GET")
                if not self.inference.is_ready:
                    raise retry_later(503, "not_ready", "no model is loaded yet")
                return HttpResponse.of({"ready": True})
            case path if found := _MODEL.fullmatch(path):
                return await self._of_model(request, metered, **found.groupdict())
        return None

    async def _of_model(
        self, request: HttpRequest, metered: Metered, model: str, number: str | None, verb: str | None
    ) -> HttpResponse:
        if verb == "infer":
            _allow(request, "POST")
            return await self._infer(request, metered, model, number)
        _allow(request, "GET")
        if verb == "config":
            return HttpResponse.of(self._config(model, number, metered.limits))
        description = self.inference.describe(model, number)
        if verb == "ready":
            return HttpResponse.of({"name": model, "ready": True})
        return HttpResponse.of(
            {
                "name": model,
                "versions": description.versions,
                "platform": PLATFORM,
                "inputs": [_metadata(spec) for spec in description.inputs],
                "outputs": [_metadata(spec) for spec in description.outputs],
            }
        )

    def _config(self, model: str, number: str | None, limits: RequestLimits) -> dict[str, Any]:
        """Triton's model configuration, as far as there is one: its tensors are described without the batch's axis."""
        description = self.inference.describe(model, number)
        return {
            "name": model,
            "platform": PLATFORM,
            "max_batch_size": limits.images,
            # Both are optional to a tool that reads this: a request has one of them.
            "input": [{**_configured(spec), "optional": True} for spec in description.inputs],
            "output": [_configured(spec) for spec in description.outputs],
        }

    async def _infer(self, request: HttpRequest, metered: Metered, model: str, number: str | None) -> HttpResponse:
        version = self.inference.pick(model, number)
        body = await request.body(metered.limits)
        body = decompressed(body, request.headers.get("content-encoding", ""), metered.limits)
        document, binary = _parse(body, request.headers.get(HEADER_LENGTH))
        asked = _request(version, document, binary, metered.limits)
        version, outputs = await self.inference.infer(version, asked, metered)
        return _response(version, document.id, asked.outputs, outputs)


def decompressed(body: bytes, encoding: str, limits: RequestLimits) -> bytes:
    """A body that is sent with this Content-Encoding.

    Raises RequestError for an unknown encoding, a damaged body, and one that is too large when it is unpacked: no more
    than that is ever unpacked.
    """
    if encoding.lower() in ("", "identity"):
        return body
    if encoding.lower() not in ("gzip", "deflate"):
        raise RequestError(400, "bad_parameter", "content-encoding: must be gzip, deflate, or left out")
    unpacker = zlib.decompressobj(_ANY_ZLIB)
    try:
        unpacked = unpacker.decompress(body, limits.body_bytes + 1)
    except zlib.error:
        raise RequestError(400, "bad_parameter", f"the body is not {encoding.lower()}") from None
    if len(unpacked) > limits.body_bytes:
        raise RequestError(413, "body_too_large", f"unpacked the body is larger than {limits.body_bytes / 1e6:g} MB")
    if not unpacker.eof:
        raise RequestError(400, "bad_parameter", "the compressed body is cut off")
    return unpacked


def _parse(body: bytes, header_length: str | None) -> tuple[_Document, memoryview]:
    """The JSON document, and what follows it."""
    length = len(body)
    if header_length is not None:
        if not (header_length.isascii() and header_length.isdecimal()) or len(header_length) > 18:
            raise RequestError(400, "bad_parameter", f"{HEADER_LENGTH}: must be a number of bytes")
        length = int(header_length)
        if length > len(body):
            raise bad_tensor(f"{HEADER_LENGTH} is {length}, and the body has {len(body)} bytes: is it cut off?")
    try:
        document = _Document.model_validate_json(body[:length])
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, problem["loc"][:4])) or "the body"
        raise RequestError(400, "bad_json", f"{where[:80]}: {problem['msg']}") from None
    return document, memoryview(body)[length:]


def _request(version: LoadedVersion, document: _Document, binary: memoryview, limits: RequestLimits) -> InferRequest:
    spec = input_spec(version, [each.name for each in document.inputs])
    (given,) = document.inputs
    limits.check_images(next(iter(given.shape), 0))
    refuse_shared_memory(given.name, given.parameters)
    size = given.parameters.get("binary_data_size")
    if size is None:
        if len(binary):
            raise bad_tensor(f"{len(binary)} bytes follow the JSON document, and no input has a binary_data_size")
        tensor = from_json(spec, given.datatype, given.shape, given.data)
    else:
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise bad_tensor(f"{given.name}: binary_data_size: must be a number of bytes")
        if given.data is not None:
            raise bad_tensor(f"{given.name}: has both data and a binary_data_size: send one of them")
        if size != len(binary):
            raise bad_tensor(
                f"{given.name}: binary_data_size is {size}, and {len(binary)} bytes follow the JSON document"
            )
        tensor = from_bytes(spec, given.datatype, given.shape, binary)
    by_default = document.parameters.get("binary_data_output", False) is True
    outputs = [
        requested_output(each.name, each.parameters, each.parameters.get("binary_data", by_default) is True)
        for each in document.outputs
    ] or [RequestedOutput(name, in_binary=by_default) for name in OUTPUTS]
    return InferRequest(photographs(tensor), outputs, timeout_s(document.parameters))


def _response(
    version: LoadedVersion, request_id: str, asked: Sequence[RequestedOutput], outputs: Sequence[Tensor]
) -> HttpResponse:
    described, binary = [], []
    for output, tensor in zip(asked, outputs, strict=True):
        entry: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if output.in_binary:
            binary.append(tensor.to_bytes())
            entry["parameters"] = {"binary_data_size": len(binary[-1])}
        else:
            entry["data"] = tensor.to_json()
        described.append(entry)
    document: dict[str, Any] = {"model_name": version.model, "model_version": version.number, "outputs": described}
    if request_id:
        document["id"] = request_id
    if not binary:
        return HttpResponse.of(document)
    header = json.dumps(document).encode()
    return HttpResponse(
        200, b"".join([header, *binary]), "application/octet-stream", headers={HEADER_LENGTH: str(len(header))}
    )


def _metadata(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}


def _configured(spec: TensorSpec) -> dict[str, Any]:
    # TYPE_STRING is what a configuration calls BYTES.
    data_type = "TYPE_STRING" if spec.datatype == BYTES else f"TYPE_{spec.datatype}"
    return {"name": spec.name, "data_type": data_type, "dims": spec.shape[1:]}


def _allow(request: HttpRequest, method: str) -> None:
    if request.method != method and not (method == "GET" and request.method == "HEAD"):
        raise RequestError(
            405, "method_not_allowed", f"{request.method} is not for this address: use {method}", {"allow": method}
        )
