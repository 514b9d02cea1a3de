"""The JSON documents of the Open Inference Protocol v2.

The source is its specification (github.com/kserve/open-inference-protocol, inference_rest.md), and for the model's
configuration, index and statistics Triton's (github.com/triton-inference-server/server, docs/protocol).
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from serve.http.json_body import Absent, JsonBody, OpenJsonBody
from serve.oip.tensors import Datatype

HEADER_LENGTH = "inference-header-content-length"
"""The header that tells how long the JSON document is, where tensors in binary form follow it."""

_Size = Annotated[int, Field(ge=1)]
_Axis = Annotated[int, Field(ge=0)]
_Parameters = Annotated[dict[str, Any], Field(description="Of extensions.")]


@dataclass
class V2LiveBody(JsonBody):
    """The server runs."""

    live: Literal[True]


@dataclass
class V2ReadyBody(JsonBody):
    """There is a model to ask."""

    ready: Literal[True]


@dataclass
class V2ModelReadyBody(JsonBody):
    """The model, or this version of it, answers."""

    name: str
    ready: Literal[True]


@dataclass
class V2ServerBody(OpenJsonBody):
    """What the server is."""

    name: str
    version: str
    extensions: tuple[str, ...]


@dataclass
class V2TensorMetadataBody(OpenJsonBody):
    """What a tensor of a model is."""

    name: str
    datatype: Datatype
    shape: tuple[Annotated[int, Field(ge=-1)], ...]
    """Lengths of its axes; -1 for any length."""


@dataclass
class V2ModelBody(OpenJsonBody):
    """What a model takes and gives."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: list[V2TensorMetadataBody]
    outputs: list[V2TensorMetadataBody]


@dataclass
class V2ConfiguredTensorBody(OpenJsonBody):
    """A tensor in Triton's configuration of a model, without the batch's axis."""

    name: str
    data_type: Literal["TYPE_UINT8", "TYPE_FP32"]
    dims: tuple[_Size, ...]
    format: Literal["FORMAT_NHWC"] | Absent = None
    """Of images: height, width, channels."""


@dataclass
class V2ParameterBody(OpenJsonBody):
    """A parameter in Triton's configuration of a model."""

    string_value: str


@dataclass
class V2ConfigBody(OpenJsonBody):
    """Triton's configuration of a model, as far as there is one."""

    name: str
    platform: str
    backend: str
    max_batch_size: _Size
    input: list[V2ConfiguredTensorBody]
    output: list[V2ConfiguredTensorBody]
    parameters: dict[str, V2ParameterBody]
    """What else the model takes and gives, for people, by name."""


@dataclass
class V2IndexedBody(OpenJsonBody):
    """A version in Triton's index of models."""

    name: str
    version: str
    state: Literal["READY"]
    reason: Literal[""]
    """Why it is not ready: what is not is not in the index."""


@dataclass
class V2DurationBody(OpenJsonBody):
    """How often something was done, and how long that took in all."""

    count: _Axis
    ns: _Axis


@dataclass
class V2InferStatisticsBody(OpenJsonBody):
    """Where the time of a version's requests went."""

    success: V2DurationBody
    fail: V2DurationBody
    queue: V2DurationBody
    compute_input: V2DurationBody
    """Decoding and resizing."""
    compute_infer: V2DurationBody
    compute_output: V2DurationBody


@dataclass
class V2StatisticsBody(OpenJsonBody):
    """What a version was asked, since it was loaded by the replica that answers."""

    name: str
    version: str
    last_inference: _Axis
    """In milliseconds since 1970; 0 before the first."""
    inference_count: _Axis
    """Images."""
    execution_count: _Axis
    """Runs of the network."""
    inference_stats: V2InferStatisticsBody


@dataclass
class V2AllStatisticsBody(OpenJsonBody):
    """What the versions were asked."""

    model_stats: list[V2StatisticsBody]


@dataclass
class V2TensorBody(OpenJsonBody):
    """A tensor of an answer."""

    name: str
    datatype: Datatype
    shape: tuple[_Axis, ...]
    parameters: _Parameters | Absent = None
    data: list[Any] | Absent = None
    """In row-major order; left out where it follows the JSON in binary form."""


@dataclass
class V2AnswerBody(OpenJsonBody):
    """What a model answers."""

    model_name: str
    model_version: str
    """The one that answered."""
    outputs: list[V2TensorBody]
    id: str = ""
    parameters: _Parameters | Absent = None


class _Sent(BaseModel):
    """A document that a caller sends, with whatever keys extensions add."""

    model_config = ConfigDict(strict=True, use_attribute_docstrings=True)


class V2InputBody(_Sent):
    """A tensor of a question."""

    name: Annotated[str, Field(json_schema_extra={"enum": ["images", "photographs", "coordinates"]})]
    """`images`: UINT8 [batch, size, size, 3], prepared RGB. `photographs`: BYTES [batch], encoded files, in binary form
    or as base64. Beside either, `coordinates`: FP32 [batch, 3], degrees north, degrees east, and the share of the year
    that has passed; null, or NaN in binary form, where not known. A model that does not read them passes over them."""
    shape: Annotated[list[Annotated[int, WithJsonSchema({"type": "integer", "minimum": 0})]], Field(max_length=16)]
    datatype: Annotated[str, Field(json_schema_extra={"enum": ["UINT8", "BYTES", "FP32"]})]
    parameters: _Parameters = {}
    data: Annotated[Any, WithJsonSchema({"type": "array", "items": {}})] = None
    """In row-major order; left out where it follows the JSON in binary form."""


class V2RequestedOutputBody(_Sent):
    """An output that is asked for."""

    name: Annotated[str, Field(json_schema_extra={"enum": ["probabilities", "logits", "embedding"]})]
    """`embedding`: of a model that gives features, and nothing else."""
    parameters: Annotated[
        dict[str, Any],
        WithJsonSchema(
            {
                "type": "object",
                "properties": {
                    "classification": {
                        "type": "integer",
                        "minimum": 1,
                        "description": 'So many classes as BYTES "value:index:label" in place of the tensor.',
                    },
                    "binary_data": {"type": "boolean", "description": "Whether it comes in binary form."},
                },
            }
        ),
    ] = {}


class V2QuestionBody(_Sent):
    """What a model is asked."""

    id: str = ""
    """Comes back with the answer."""
    parameters: _Parameters = {}
    inputs: Annotated[list[V2InputBody], Field(json_schema_extra={"minItems": 1, "maxItems": 2})]
    outputs: list[V2RequestedOutputBody] = []
    """All where nothing is named."""
