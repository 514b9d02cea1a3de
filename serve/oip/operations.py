"""The operations of the Open Inference Protocol v2, for the OpenAPI document."""

from collections.abc import Callable, Sequence

from scenerec import __version__
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
    schema_ref,
)
from serve.oip.documents import (
    HEADER_LENGTH,
    V2AllStatisticsBody,
    V2AnswerBody,
    V2ConfigBody,
    V2ConfiguredTensorBody,
    V2DurationBody,
    V2IndexedBody,
    V2InferStatisticsBody,
    V2LiveBody,
    V2ModelBody,
    V2ModelReadyBody,
    V2ParameterBody,
    V2QuestionBody,
    V2ReadyBody,
    V2ServerBody,
    V2StatisticsBody,
    V2TensorBody,
    V2TensorMetadataBody,
)
from serve.oip.inference import BACKEND, EXTENSIONS, PLATFORM, SERVER

_INFER_ERRORS = (400, 401, 404, 405, 408, 413, 415, 422, 429, 500, 503, 504)
_MODEL_ERRORS = (401, 404, 405, 500)
_SERVER_ERRORS = (401, 405)
_HEALTH_ERRORS = (405,)

_STATISTICS = "Counts and times since a version was loaded by the replica that answers; each replica has its own."

_LENGTH: Part = {"type": "integer", "minimum": 0}

Describe = Callable[[str], Operation]
"""Describes a route, for examples with the model of this name."""


def server(model: str) -> Operation:
    """What the server is."""
    answer = DescribedAnswer("The server.", V2ServerBody(SERVER, __version__, EXTENSIONS))
    return _get("v2Server", "Describe the server", answer, _SERVER_ERRORS, "$URL/v2")


def live(model: str) -> Operation:
    """Whether the server runs."""
    answer = DescribedAnswer("It does.", V2LiveBody(True))
    return _get("v2Live", "Whether the server runs", answer, _HEALTH_ERRORS, "$URL/v2/health/live")


def ready(model: str) -> Operation:
    """Whether something is served."""
    answer = DescribedAnswer("There is one.", V2ReadyBody(True))
    return _get("v2Ready", "Whether there is a model to ask", answer, (*_HEALTH_ERRORS, 503), "$URL/v2/health/ready")


def metadata(name: str, place: str = "") -> Describe:
    """What a model takes and gives; with the `place` of a version below the model's address, what that version does."""
    return _of_model(name, _either("Describe a", place), "The model.", _example_model, place)


def model_ready(name: str, place: str = "") -> Describe:
    """Whether a model, or one of its versions, is served."""
    summary = f"{_either('Whether a', place)} answers"
    return _of_model(name, summary, "It does.", lambda model: V2ModelReadyBody(model, True), f"{place}/ready")


def configuration(name: str, place: str = "") -> Describe:
    """Triton's configuration of a model, or of one of its versions."""
    summary = "The same of a version" if place else "Triton's configuration of a model"
    return _of_model(name, summary, "Its tensors, without the batch's axis.", _example_config, f"{place}/config")


def statistics(name: str, place: str = "") -> Describe:
    """What a model, or one of its versions, was asked."""
    summary = "The same of a version" if place else "What a model was asked"
    return _of_model(name, summary, _STATISTICS, _example_statistics, f"{place}/stats")


def all_statistics(model: str) -> Operation:
    """What all that is served was asked."""
    answer = DescribedAnswer(_STATISTICS, _example_statistics(model))
    return _get("v2AllStatistics", "What all models were asked", answer, _SERVER_ERRORS, "$URL/v2/models/stats")


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


def infer(name: str, place: str = "") -> Describe:
    """Inference by a model, or by one of its versions."""

    def described(model: str) -> Operation:
        tensor = V2TensorBody("probabilities", "FP32", (1, 3), data=[0.93, 0.05, 0.02])
        url = f"$URL/v2/models/{model}{place}/infer"
        return Operation(
            name,
            "v2",
            "Ask one version" if place else "Ask a model",
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
            samples=curl(url, ["-H 'content-type: application/json'", "-d @question.json"]),
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


def _either(begin: str, place: str) -> str:
    return f"{begin} {'version' if place else 'model'}"


def _get(name: str, summary: str, answer: DescribedAnswer, errors: Sequence[int], url: str) -> Operation:
    return Operation(name, "v2", summary, answer, errors=errors, samples=curl(url))


def _of_model(name: str, summary: str, description: str, example: Callable[[str], JsonBody], place: str) -> Describe:
    def described(model: str) -> Operation:
        answer = DescribedAnswer(description, example(model))
        return _get(name, summary, answer, _MODEL_ERRORS, f"$URL/v2/models/{model}{place}")

    return described


def _example_model(model: str) -> JsonBody:
    return V2ModelBody(
        name=model,
        versions=("3",),
        platform=PLATFORM,
        inputs=[V2TensorMetadataBody("images", "UINT8", (-1, 224, 224, 3))],
        outputs=[V2TensorMetadataBody("probabilities", "FP32", (-1, 365))],
    )


def _example_config(model: str) -> JsonBody:
    return V2ConfigBody(
        name=model,
        platform=PLATFORM,
        backend=BACKEND,
        max_batch_size=64,
        input=[V2ConfiguredTensorBody("images", "TYPE_UINT8", (224, 224, 3), "FORMAT_NHWC")],
        output=[V2ConfiguredTensorBody("probabilities", "TYPE_FP32", (365,))],
        parameters={"logits": V2ParameterBody("an output beside probabilities: FP32 [-1, 365]")},
    )


def _example_statistics(model: str) -> JsonBody:
    once, never = V2DurationBody(1, 3_200_000), V2DurationBody(0, 0)
    durations = V2InferStatisticsBody(once, never, once, once, once, never)
    return V2AllStatisticsBody([V2StatisticsBody(model, "3", 1_767_225_600_000, 1, 1, durations)])
