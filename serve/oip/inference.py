"""Inference by the Open Inference Protocol v2, whatever carries it.

A model takes one of two inputs: `images`, UINT8 RGB [n, image_size, image_size, 3], or `photographs`, BYTES [n], each
an encoded JPEG, PNG, WebP, GIF or BMP. Beside it may stand `coordinates`, FP32 [n, 3]: degrees north, degrees east and
the share of the year that has passed, each NaN (in JSON: null) where not known. It answers with `probabilities` and
`logits`, FP32 [n, classes]; either comes as BYTES [n, k] of "value:index:label" where its k best classes are asked for
(Triton's classification extension, github.com/triton-inference-server/server, extension_classification.md). A model of
features answers with `embedding` alone, FP32 [n, features].

`images` of BYTES are photographs: so sends NVIDIA's client for ensembles that decode.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from scenerec.data.coordinates import Coordinates, check_coordinates
from scenerec.inference.bundles.info import EMBEDDING
from scenerec.inference.predictors.engine import Answer
from serve.errors import ErrorKind, RequestError, short
from serve.loaded_version import LoadedVersion
from serve.metered import Metered
from serve.oip.tensors import BYTES, Tensor, TensorSpec, bad_tensor

COORDINATES = TensorSpec("coordinates", "FP32", (-1, 3))
"""The input of coordinates. A model that does not read them passes over it."""

_MICROSECONDS = 1e6
_LONGEST_TIMEOUT = 1 << 62  # of a sender's number, which may have thousands of digits
_BATCH = -1  # the axis of any length, which is the first of every tensor


@dataclass(frozen=True)
class RequestedOutput:
    """An output that a caller wants."""

    name: str
    classes: int = 0
    """How many of the best classes it is to name, as text; 0 for the tensor itself."""
    in_binary: bool = True


@dataclass(frozen=True)
class InferRequest:
    """A decoded request."""

    photographs: Sequence[bytes | np.ndarray]
    """JPEG, PNG, WebP, GIF or BMP files, or uint8 RGB [image_size, image_size, 3]."""
    outputs: Sequence[RequestedOutput]
    """The outputs that are wanted, in the order of the answer."""
    coordinates: Sequence[np.ndarray] | None = None
    """Where and when each photograph was taken, float32 [3] as a row of those of `Predictor.logits`; None: not sent."""
    timeout_s: float | None = None
    """What the caller is ready to wait, where it says so."""
    id: str = ""
    """What the caller calls it; "" where it does not."""


async def infer(version: LoadedVersion, request: InferRequest, metered: Metered) -> tuple[LoadedVersion, list[Tensor]]:
    """The version that has answered, this one or one in its place, and the outputs. Raises what Metered.ask raises."""
    if request.timeout_s is not None:
        limits = replace(metered.limits, timeout_s=min(metered.limits.timeout_s, request.timeout_s))
        metered = replace(metered, limits=limits)
    version, answers = await metered.ask(version, request.photographs, request.coordinates)
    return version, [_output(version, output, answers) for output in request.outputs]


def input_specs(version: LoadedVersion) -> tuple[TensorSpec, TensorSpec]:
    """The inputs that a version can take, of which a request has one."""
    size = version.image_size
    return TensorSpec("images", "UINT8", (_BATCH, size, size, 3)), TensorSpec("photographs", BYTES, (_BATCH,))


def output_specs(version: LoadedVersion) -> list[TensorSpec]:
    """The outputs that a version gives, the first of which stands for it."""
    numbers = version.bundle.info.embedding_size or len(version.labels)
    return [TensorSpec(name, "FP32", (_BATCH, numbers)) for name in output_names(version)]


def output_names(version: LoadedVersion) -> tuple[str, ...]:
    """The names of these outputs."""
    return (EMBEDDING,) if version.bundle.info.task == "embedding" else ("probabilities", "logits")


def specs_of(version: LoadedVersion, inputs: Sequence[tuple[str, str]]) -> list[TensorSpec]:
    """What each input of a request must be, found by their names and datatypes.

    Raises RequestError unless one has images; another may have coordinates.
    """
    image, file = input_specs(version)
    specs = {image.name: image, file.name: file}
    known = " or ".join(specs)
    for name, _ in inputs:
        if name not in specs and name != COORDINATES.name:
            raise bad_tensor(f"{version.model} has no input {short(name)}: send {known}")
    of_images = [name for name, _ in inputs if name != COORDINATES.name]
    if len(of_images) != 1 or len(inputs) > len(of_images) + 1:
        raise bad_tensor(f"{len(inputs)} inputs: send one, {known}, and at most one of {COORDINATES.name} beside it")
    return [
        COORDINATES if name == COORDINATES.name else replace(file, name=name) if datatype == BYTES else specs[name]
        for name, datatype in inputs
    ]


def photographs_and_coordinates(
    tensors: Sequence[Tensor],
) -> tuple[Sequence[bytes | np.ndarray], Sequence[np.ndarray] | None]:
    """What the inputs of a request hold. Raises RequestError where there is no photograph, or a place is none."""
    located = next((tensor for tensor in tensors if tensor.name == COORDINATES.name), None)
    (tensor,) = (tensor for tensor in tensors if tensor is not located)
    if not len(tensor.values):
        raise bad_tensor(f"{tensor.name}: is empty: send at least one")
    return list(tensor.values), None if located is None else _checked_coordinates(located, len(tensor.values))


def _checked_coordinates(tensor: Tensor, images: int) -> list[np.ndarray]:
    rows = [np.asarray(row) for row in tensor.values]
    if len(rows) != images:
        raise bad_tensor(f"{tensor.name}: has {len(rows)} rows for {images} images")
    for index, row in enumerate(rows):
        latitude, longitude, time = (None if math.isnan(value) else value for value in row.tolist())
        if (latitude is None) != (longitude is None) or (latitude is None and time is not None):
            raise bad_tensor(f"{tensor.name}: row {index}: latitude and longitude come together, and time with them")
        try:
            if latitude is not None and longitude is not None:
                check_coordinates(Coordinates(latitude, longitude, time))
        except ValueError as error:  # which does not say them
            raise bad_tensor(f"{tensor.name}: row {index}: {error}") from None
    return rows


def requested_output(
    version: LoadedVersion, name: str, parameters: Mapping[str, object], in_binary: bool
) -> RequestedOutput:
    """An output as a request describes it. Raises RequestError for an unknown one, or a parameter without sense."""
    names = output_names(version)
    if name not in names:
        verb = "are" if len(names) > 1 else "is"
        raise bad_tensor(f"no output {short(name)}: there {verb} {' and '.join(names)}")
    refuse_shared_memory(name, parameters)
    classes = parameters.get("classification", 0)
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 0:
        raise _bad_parameter(f"{name}: classification: must be a whole number of classes")
    if classes and name == EMBEDDING:
        raise _bad_parameter(f"{name}: classification: it has no classes: leave it out")
    return RequestedOutput(name, classes, in_binary)


def timeout_s(parameters: Mapping[str, object]) -> float | None:
    """Triton's parameter `timeout`, in microseconds; 0 and none: as long as the server waits. Raises RequestError."""
    timeout = parameters.get("timeout", 0)
    if isinstance(timeout, bool) or not isinstance(timeout, int) or timeout < 0:
        raise _bad_parameter("timeout: must be a whole number of microseconds")
    return min(timeout, _LONGEST_TIMEOUT) / _MICROSECONDS if timeout else None


def refuse_shared_memory(name: str, parameters: Mapping[str, object]) -> None:
    """Refuses a tensor that lies in memory which client and server would have to share. Raises RequestError."""
    if "shared_memory_region" in parameters:
        raise _bad_parameter(f"{name}: shared memory is not supported: send the tensor itself")


def _bad_parameter(message: str) -> RequestError:
    return RequestError(ErrorKind.BAD_PARAMETER, message)


def _output(version: LoadedVersion, output: RequestedOutput, answers: Sequence[Answer]) -> Tensor:
    field = "logits" if output.name == EMBEDDING else output.name
    values = np.stack([getattr(answer, field) for answer in answers])
    if not output.classes:
        return Tensor.of_numbers(output.name, values)
    labels = version.labels
    best = np.argsort(-values, axis=1, kind="stable")[:, : output.classes]
    texts = [
        f"{row[index]:f}:{index}:{labels[index]}".encode()
        for row, indices in zip(values, best, strict=True)
        for index in indices
    ]
    return Tensor(output.name, BYTES, best.shape, texts)
