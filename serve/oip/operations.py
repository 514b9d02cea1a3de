"""The operations of the Open Inference Protocol v2, for the OpenAPI document."""

from collections.abc import Callable, Sequence

from serve.http.json_body import JsonBody
from serve.http.operation import (
    BINARY,
    CONTENT_ENCODING,
    EXAMPLE_PNG,
    DescribedAnswer,
    Operation,
    Part,
    curl,
    json_content,
    sample_url,
    schema_ref,
)
from serve.oip.descriptions import BACKEND, PLATFORM
from serve.oip.documents import (
    HEADER_LENGTH,
    V2AllStatisticsBody,
    V2AnswerBody,
    V2ConfigBody,
    V2ConfiguredTensorBody,
    V2DurationBody,
    V2IndexedBody,
    V2InferStatisticsBody,
    V2ModelBody,
    V2ParameterBody,
    V2QuestionBody,
    V2StatisticsBody,
    V2TensorBody,
    V2TensorMetadataBody,
)

_INFER_ERRORS = (400, 401, 404, 405, 408, 413, 415, 422, 429, 500, 503, 504)
_LENGTH: Part = {"type": "integer", "minimum": 0}

Describe = Callable[[str], Operation]
"""Describes a route, for examples with the model of this name."""


def get(
    path: str, name: str, summary: str, description: str, example: Callable[[str], JsonBody], errors: Sequence[int]
) -> Describe:
    """What is asked by GET: `description` is that of the answer, `example` makes one of a model's name."""

    def described(model: str) -> Operation:
        answer = DescribedAnswer(description, example(model))
        return Operation(name, "v2", summary, answer, errors=errors, samples=curl(sample_url(path, model)))

    return described


def index(model: str) -> Operation:
    """Which versions are served."""
    schema: Part = {"type": "array", "items": schema_ref(V2IndexedBody)}
    return Operation(
        "v2Index",
        "v2",
        "List the versions that are served",
        DescribedAnswer("Each of them.", content={"application/json": schema}),
        errors=(401, 405),
        samples=curl("-X POST $URL/v2/repository/index"),
        body_types=(V2IndexedBody,),
    )


def infer(path: str, name: str, summary: str) -> Describe:
    """Inference by a model, or by one of its versions."""

    def described(model: str) -> Operation:
        tensor = V2TensorBody("probabilities", "FP32", (1, 3), data=[0.93, 0.05, 0.02])
        return Operation(
            name,
            "v2",
            summary,
            DescribedAnswer(
                "The outputs that were asked for.",
                V2AnswerBody(model, "3", [tensor], "7"),
                content={"application/octet-stream": BINARY},
                headers={
                    HEADER_LENGTH: {
                        "description": "Length of the JSON, where tensors in binary form follow it.",
                        "schema": _LENGTH,
                    }
                },
            ),
            errors=_INFER_ERRORS,
            samples=curl(sample_url(path, model), ["-H 'content-type: application/json'", "-d @question.json"]),
            description=(
                "Tensors as JSON; or in binary form behind the JSON, whose length `Inference-Header-Content-Length` "
                "then tells. `photographs` takes encoded files, `images` what a caller has prepared itself."
            ),
            parameters=_INFER_PARAMETERS,
            body=_INFER_BODY,
            body_types=(V2QuestionBody,),
        )

    return described


_INFER_PARAMETERS: tuple[Part, ...] = (
    {
        "name": "Inference-Header-Content-Length",
        "in": "header",
        "description": "Length of the JSON in bytes, where binary tensors follow it.",
        "schema": _LENGTH,
    },
    CONTENT_ENCODING,
)
_INFER_BODY: Part = {
    "required": True,
    "content": {
        **json_content(
            schema_ref(V2QuestionBody),
            example={
                "id": "7",
                "inputs": [{"name": "photographs", "datatype": "BYTES", "shape": [1], "data": [EXAMPLE_PNG]}],
                "outputs": [{"name": "probabilities"}],
            },
        ),
        "application/octet-stream": {"schema": BINARY},
    },
}


def example_model(model: str) -> JsonBody:
    """A model, as it describes itself."""
    return V2ModelBody(
        name=model,
        versions=("3",),
        platform=PLATFORM,
        inputs=[V2TensorMetadataBody("images", "UINT8", (-1, 224, 224, 3))],
        outputs=[V2TensorMetadataBody("probabilities", "FP32", (-1, 365))],
    )


def example_config(model: str) -> JsonBody:
    """A model's configuration."""
    return V2ConfigBody(
        name=model,
        platform=PLATFORM,
        backend=BACKEND,
        max_batch_size=64,
        input=[V2ConfiguredTensorBody("images", "TYPE_UINT8", (224, 224, 3), "FORMAT_NHWC")],
        output=[V2ConfiguredTensorBody("probabilities", "TYPE_FP32", (365,))],
        parameters={"logits": V2ParameterBody("an output beside probabilities: FP32 [-1, 365]")},
    )


def example_statistics(model: str) -> JsonBody:
    """What a model was asked."""
    once, never = V2DurationBody(1, 3_200_000), V2DurationBody(0, 0)
    durations = V2InferStatisticsBody(once, never, once, once, once, never)
    return V2AllStatisticsBody([V2StatisticsBody(model, "3", 1_767_225_600_000, 1, 1, durations)])
