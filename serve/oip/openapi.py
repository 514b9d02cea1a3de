"""Of the OpenAPI document: the Open Inference Protocol v2."""

from typing import Any

from scenerec import __version__
from serve.http.openapi_answers import EXAMPLE_PNG, Part, content, curl, errors, ref, schema_ref, success
from serve.oip.inference import EXTENSIONS, PLATFORM, SERVER

_INFER_STATUSES = (400, 401, 404, 405, 408, 413, 415, 422, 429, 500, 503, 504)
_MODEL_STATUSES = (401, 404, 405, 500)


def v2_paths(example: str) -> Part:
    """The operations by their path."""
    model = "/v2/models/{model}"
    version = f"{model}/versions/{{version}}"
    in_model, in_version = [ref("parameters", "model")], [ref("parameters", "model"), ref("parameters", "version")]
    here, by_version = f"$URL/v2/models/{example}", f"$URL/v2/models/{example}/versions/1"
    return {
        "/v2": {"get": _get("v2Server", "Describe the server", _server(), (401, 405), "$URL/v2")},
        "/v2/health/live": {
            "get": _get("v2Live", "Whether the server runs", _live(), (401, 405), "$URL/v2/health/live")
        },
        "/v2/health/ready": {
            "get": _get("v2Ready", "Whether there is a model to ask", _ready(), (401, 405, 503), "$URL/v2/health/ready")
        },
        model: {
            "parameters": in_model,
            "get": _get("v2Model", "Describe a model", _described(example), _MODEL_STATUSES, here),
        },
        version: {
            "parameters": in_version,
            "get": _get("v2Version", "Describe a version", _described(example), _MODEL_STATUSES, by_version),
        },
        f"{model}/ready": {
            "parameters": in_model,
            "get": _get(
                "v2ModelReady", "Whether a model answers", _model_ready(example), _MODEL_STATUSES, f"{here}/ready"
            ),
        },
        f"{version}/ready": {
            "parameters": in_version,
            "get": _get(
                "v2VersionReady",
                "Whether a version answers",
                _model_ready(example),
                _MODEL_STATUSES,
                f"{by_version}/ready",
            ),
        },
        f"{model}/config": {
            "parameters": in_model,
            "get": _get(
                "v2Config", "Triton's configuration of a model", _config(example), _MODEL_STATUSES, f"{here}/config"
            ),
        },
        f"{version}/config": {
            "parameters": in_version,
            "get": _get(
                "v2VersionConfig", "The same of a version", _config(example), _MODEL_STATUSES, f"{by_version}/config"
            ),
        },
        f"{model}/infer": {"parameters": in_model, "post": _infer("v2Infer", "Ask a model", example, f"{here}/infer")},
        f"{version}/infer": {
            "parameters": in_version,
            "post": _infer("v2VersionInfer", "Ask one version", example, f"{by_version}/infer"),
        },
    }


def _get(name: str, summary: str, answer: Part, statuses: tuple[int, ...], url: str) -> Part:
    return {
        "operationId": name,
        "tags": ["v2"],
        "summary": summary,
        "responses": {"200": answer, **errors(*statuses)},
        "x-codeSamples": curl(url),
    }


def _live() -> Part:
    return success("It does.", "V2Live", {"live": True})


def _ready() -> Part:
    return success("There is one.", "V2Ready", {"ready": True})


def _model_ready(example: str) -> Part:
    return success("It does.", "V2ModelReady", {"name": example, "ready": True})


def _server() -> Part:
    return success("The server.", "V2Server", {"name": SERVER, "version": __version__, "extensions": list(EXTENSIONS)})


def _described(example: str) -> Part:
    def tensor(name: str, datatype: str, *shape: int) -> dict[str, Any]:
        return {"name": name, "datatype": datatype, "shape": list(shape)}

    document = {
        "name": example,
        "versions": ["3"],
        "platform": PLATFORM,
        "inputs": [tensor("images", "UINT8", -1, 224, 224, 3), tensor("photographs", "BYTES", -1)],
        "outputs": [tensor("probabilities", "FP32", -1, 365), tensor("logits", "FP32", -1, 365)],
    }
    return success("The model.", "V2Model", document)


def _config(example: str) -> Part:
    document = {
        "name": example,
        "platform": PLATFORM,
        "max_batch_size": 64,
        "input": [{"name": "images", "data_type": "TYPE_UINT8", "dims": [224, 224, 3], "optional": True}],
        "output": [{"name": "probabilities", "data_type": "TYPE_FP32", "dims": [365]}],
    }
    return success("Its tensors, without the batch's axis.", "V2Config", document)


def _infer(name: str, summary: str, example: str, url: str) -> Part:
    tensor = {
        "name": "probabilities",
        "datatype": "FP32",
        "shape": [1, 3],
        "data": [0.93, 0.05, 0.02],
    }
    answer = success(
        "The outputs that were asked for.",
        "V2Answer",
        {"id": "7", "model_name": example, "model_version": "3", "outputs": [tensor]},
    )
    lengths = {"type": "integer", "minimum": 0}
    binary = {"schema": {"type": "string", "format": "binary"}}
    answer["headers"] = answer["headers"] | {
        "inference-header-content-length": {
            "description": "Length of the JSON, where tensors in binary form follow it.",
            "schema": lengths,
        }
    }
    answer["content"] = answer["content"] | {"application/octet-stream": binary}
    question = {
        "id": "7",
        "inputs": [{"name": "photographs", "datatype": "BYTES", "shape": [1], "data": [EXAMPLE_PNG]}],
        "outputs": [{"name": "probabilities"}],
    }
    return {
        "operationId": name,
        "tags": ["v2"],
        "summary": summary,
        "description": (
            "Tensors as JSON; or in binary form behind the JSON, whose length `Inference-Header-Content-Length` then "
            "tells. `photographs` takes encoded files, `images` what a caller has prepared itself."
        ),
        "parameters": [
            {
                "name": "Inference-Header-Content-Length",
                "in": "header",
                "description": "Length of the JSON in bytes, where binary tensors follow it.",
                "schema": lengths,
            },
            {
                "name": "Content-Encoding",
                "in": "header",
                "description": "How the whole body is compressed.",
                "schema": {"type": "string", "enum": ["identity", "gzip", "deflate"]},
            },
        ],
        "requestBody": {
            "required": True,
            "content": {**content(schema_ref("V2Question"), example=question), "application/octet-stream": binary},
        },
        "responses": {"200": answer, **errors(*_INFER_STATUSES)},
        "x-codeSamples": curl(url, ["-H 'content-type: application/json'", "-d @question.json"]),
    }
